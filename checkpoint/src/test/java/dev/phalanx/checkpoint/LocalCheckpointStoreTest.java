package dev.phalanx.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.safetensors.HostMemory;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class LocalCheckpointStoreTest {
  private final HostMemory memory = new HostMemory();

  @TempDir private Path parent = Path.of("");
  private Path root = Path.of("");
  private LocalCheckpointStore store = new LocalCheckpointStore(root);

  @BeforeEach
  void makeStore() {
    root = parent.resolve("new").resolve("checkpoints");
    store = new LocalCheckpointStore(root);
  }

  @AfterEach
  void freeMemory() {
    memory.close();
  }

  private Path save(long step) {
    return save(step, step);
  }

  private Path save(long step, long seed) {
    return store.save(
        Checkpoints.manifest(step),
        Checkpoints.model(memory, seed),
        Checkpoints.optimizer(memory, seed));
  }

  private void assertHolds(Path directory, long step, long seed) throws IOException {
    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(directory)) {
      checkpoint.verify();
      assertThat(checkpoint.directory()).isEqualTo(directory);
      CheckpointManifest manifest = checkpoint.manifest();
      assertThat(manifest.withFiles(List.of())).isEqualTo(Checkpoints.manifest(step));
      assertThat(checkpoint.model().metadata()).containsEntry("format", "phalanx");
      for (Entry entry : Checkpoints.model(memory, seed)) {
        assertThat(Checkpoints.bytes(memory, checkpoint.model(), entry.name()))
            .isEqualTo(HostMemory.bytes(entry.tensor()));
      }
      for (Entry entry : Checkpoints.optimizer(memory, seed)) {
        assertThat(Checkpoints.bytes(memory, checkpoint.optimizer(), entry.name()))
            .isEqualTo(HostMemory.bytes(entry.tensor()));
      }
    }
  }

  @Test
  void whatWasSavedIsWhatIsOpened() throws IOException {
    Path directory = save(200);

    assertThat(directory).isEqualTo(root.resolve("step-000200"));
    assertThat(Checkpoints.names(directory))
        .containsExactly("checkpoint.json", "model.safetensors", "optimizer.safetensors");
    assertThat(Checkpoints.names(root)).containsExactly("step-000200");
    assertHolds(directory, 200, 200);
  }

  @Test
  void theSameStateGivesTheSameBytes() throws IOException {
    Path directory = save(1, 5);
    Path again =
        new LocalCheckpointStore(parent.resolve("again"))
            .save(
                Checkpoints.manifest(1),
                Checkpoints.model(memory, 5),
                Checkpoints.optimizer(memory, 5));

    for (String name : Checkpoints.names(directory)) {
      assertThat(again.resolve(name)).hasSameBinaryContentAs(directory.resolve(name));
    }
  }

  @Test
  void checkpointsAreListedByTheirStep() throws IOException {
    assertThat(store.all()).isEmpty();
    assertThat(store.newest()).isEmpty();

    save(1_000_000);
    save(999_999);
    save(0);

    assertThat(store.all())
        .containsExactly(
            root.resolve("step-000000"), root.resolve("step-999999"), root.resolve("step-1000000"));
    assertThat(store.newest()).contains(root.resolve("step-1000000"));
  }

  @Test
  void otherThingsInTheFolderAreNoCheckpoints() throws IOException {
    save(100);
    Files.createDirectories(root.resolve("step-000900"));
    Files.createDirectories(root.resolve("step-9"));
    Files.createDirectories(root.resolve("notes"));
    Files.writeString(root.resolve("step-000901"), "a file");
    Files.copy(root.resolve("step-000100/checkpoint.json"), root.resolve("notes/checkpoint.json"));

    assertThat(store.all()).containsExactly(root.resolve("step-000100"));
  }

  /** Whoever looks for a checkpoint is told, and does not take the folder for an empty one. */
  @Test
  void whereOnlyDamagedOnesAreThereIsNoNewest() throws IOException {
    Path directory = save(100);
    Files.delete(directory.resolve("checkpoint.json"));

    assertThatThrownBy(store::newest)
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining(directory + " has no checkpoint.json");
    assertThatThrownBy(() -> LocalCheckpointStore.find(root))
        .isInstanceOf(BadCheckpointException.class);
    save(200);
    assertThat(store.newest()).contains(root.resolve("step-000200"));
  }

  @Test
  void whatAKilledWriterLeftIsNeverNewestAndIsCleanedUp() throws IOException {
    save(100);
    Path partial = root.resolve(".partial-000200-0123");
    Files.move(save(200), partial); // even one that lacks nothing but its name

    assertThat(store.newest()).contains(root.resolve("step-000100"));
    store.cleanUp();
    assertThat(Checkpoints.names(root)).containsExactly("step-000100");
    assertHolds(root.resolve("step-000100"), 100, 100);
  }

  @Test
  void aCheckpointThatWasMovedAwayAndNotReplacedComesBack() throws IOException {
    Path directory = save(100);
    Files.move(directory, root.resolve(".old-000100-0123"));
    Files.createDirectories(root.resolve(".partial-000100-4567"));
    assertThat(store.newest()).isEmpty();

    store.cleanUp();

    assertThat(Checkpoints.names(root)).containsExactly("step-000100");
    assertHolds(directory, 100, 100);
  }

  @Test
  void aCheckpointThatWasReplacedDoesNotComeBack() throws IOException {
    Files.move(save(100, 1), root.resolve(".old-000100-0123"));
    Path directory = save(100, 2);

    store.cleanUp();

    assertThat(Checkpoints.names(root)).containsExactly("step-000100");
    assertHolds(directory, 100, 2);
  }

  @Test
  void aCheckpointWhoseDeletionWasCutShortDoesNotComeBack() throws IOException {
    Path old = root.resolve(".old-000100-0123");
    Files.move(save(100), old);
    Files.delete(old.resolve("checkpoint.json"));

    store.cleanUp();

    assertThat(Checkpoints.names(root)).isEmpty();
  }

  @Test
  void cleaningUpLeavesAloneWhatIsNotTheStores() throws IOException {
    Files.createDirectories(root.resolve(".old-stuff"));
    Files.createDirectories(root.resolve(".old-x-y"));
    Files.createDirectories(root.resolve("step-000100"));

    store.cleanUp();

    assertThat(Checkpoints.names(root)).containsExactly(".old-stuff", ".old-x-y", "step-000100");
  }

  @Test
  void cleaningUpAFolderThatIsNotThereIsNothing() throws IOException {
    store.cleanUp();
    store.keepNewest(1);

    assertThat(root).doesNotExist();
  }

  @Test
  void savingTheSameStepReplacesIt() throws IOException {
    save(100, 1);
    Path directory = save(100, 2);

    assertThat(Checkpoints.names(root)).containsExactly("step-000100");
    assertHolds(directory, 100, 2);
  }

  @Test
  void onlyTheNewestAreKept() throws IOException {
    for (long step : new long[] {300, 100, 1_000_000, 200}) {
      save(step);
    }

    store.keepNewest(5);
    assertThat(store.all()).hasSize(4);
    store.keepNewest(2);
    assertThat(Checkpoints.names(root)).containsExactly("step-000300", "step-1000000");
  }

  @Test
  void checkpointsOfLaterStepsAreSetAside() throws IOException {
    for (long step : new long[] {100, 200, 300, 1_000_000}) {
      save(step);
    }

    assertThat(store.setAsideAfter(1_000_000)).isEmpty();
    Path aside = root.resolveSibling("checkpoints.old-1");
    assertThat(store.setAsideAfter(200)).contains(aside);
    assertThat(Checkpoints.names(root)).containsExactly("step-000100", "step-000200");
    assertThat(Checkpoints.names(aside)).containsExactly("step-000300", "step-1000000");
  }

  /** Else it would be taken for the new run's, and a resumed one be refused for it. */
  @Test
  void whatIsLeftOfACheckpointIsSetAsideWithTheOthers() throws IOException {
    save(100);
    Path damaged = save(200);
    Files.delete(damaged.resolve("checkpoint.json"));
    save(300);

    Path aside = root.resolveSibling("checkpoints.old-1");
    assertThat(store.setAside()).contains(aside);
    assertThat(Checkpoints.names(root)).isEmpty();
    assertThat(store.newest()).isEmpty();
    assertThat(Checkpoints.names(aside))
        .containsExactly("step-000100", "step-000200", "step-000300");
  }

  /** To a large disk, say: what comes later must lie there too. */
  @Test
  void checkpointsBehindALinkAreSetAsideWhereTheyAre() throws IOException {
    save(100);
    Path disk = root.resolveSibling("disk");
    Files.createDirectories(disk.resolve("run"));
    Path link = Files.createSymbolicLink(root.resolveSibling("link"), disk.resolve("run"));
    Files.move(root.resolve("step-000100"), disk.resolve("run").resolve("step-000100"));
    LocalCheckpointStore behind = new LocalCheckpointStore(link);

    assertThat(behind.setAside()).contains(disk.toRealPath().resolve("run.old-1"));
    assertThat(link).isSymbolicLink().isDirectory();
    assertHolds(disk.resolve("run.old-1").resolve("step-000100"), 100, 100);
  }

  @Test
  void aLinkAmongTheCheckpointsIsRemovedAndNotWhatItLeadsTo() throws IOException {
    save(100);
    save(200);
    Path kept = root.resolveSibling("kept");
    Files.move(root.resolve("step-000100"), kept);
    Files.createSymbolicLink(root.resolve("step-000100"), kept);

    store.keepNewest(1);

    assertThat(Checkpoints.names(root)).containsExactly("step-000200");
    assertHolds(kept, 100, 100);
  }

  @Test
  void checkpointsAreSetAsideUnderTheFirstFreeName() throws IOException {
    assertThat(store.setAside()).isEmpty();
    save(100);
    Path first = root.resolveSibling("checkpoints.old-1");
    assertThat(store.setAside()).contains(first);
    assertThat(store.all()).isEmpty();
    assertThat(store.setAside()).isEmpty();

    save(200);
    Path second = root.resolveSibling("checkpoints.old-2");
    assertThat(store.setAside()).contains(second);

    assertHolds(first.resolve("step-000100"), 100, 100);
    assertHolds(second.resolve("step-000200"), 200, 200);
    assertThat(Checkpoints.names(root)).isEmpty();
  }

  @Test
  void theStepIsNamedInTheSameDigitsEverywhere() throws IOException {
    Locale before = Locale.getDefault();
    Locale.setDefault(Locale.forLanguageTag("ar-EG-u-nu-arab"));
    try {
      assertThat(save(200)).isEqualTo(root.resolve("step-000200"));
      assertHolds(root.resolve("step-000200"), 200, 200);
    } finally {
      Locale.setDefault(before);
    }
  }

  @Test
  void aFolderThatCannotBeMadeIsReported() throws IOException {
    Files.createDirectories(root.getParent());
    Files.writeString(root, "a file where the folder should be");

    assertThatThrownBy(() -> save(100))
        .isInstanceOf(CheckpointWriteException.class)
        .hasMessageContaining(root.resolve("step-000100").toString())
        .hasMessageContaining("Not a directory")
        .hasMessageContaining("Make room or name another checkpoint.dir")
        .hasCauseInstanceOf(IOException.class);
    assertThat(root).hasContent("a file where the folder should be");
  }

  @Test
  void tensorsThatNoFileCanHoldLeaveNothing() throws IOException {
    save(100);
    Entry view = new Entry("x", Checkpoints.model(memory, 1).get(0).tensor().transpose(0, 1));

    assertThatThrownBy(
            () ->
                store.save(Checkpoints.manifest(200), Checkpoints.model(memory, 1), List.of(view)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("contiguous");
    assertThat(Checkpoints.names(root)).containsExactly("step-000100");
  }

  @Test
  void aPartialDirectoryThatVanishesIsReported() throws IOException {
    save(100);
    AtomicReference<Path> partial = new AtomicReference<>(root);
    LocalCheckpointStore robbed =
        new LocalCheckpointStore(
            root,
            (file, metadata, entries) -> {
              partial.set(file.getParent());
              Files.deleteIfExists(partial.get());
              return new SafetensorsWriter.Written(0, 0);
            });

    assertThatThrownBy(() -> robbed.save(Checkpoints.manifest(100), List.of(), List.of()))
        .isInstanceOf(CheckpointWriteException.class)
        .hasMessageContaining("NoSuchFileException " + partial.get());
    assertHolds(root.resolve("step-000100"), 100, 100);
  }
}
