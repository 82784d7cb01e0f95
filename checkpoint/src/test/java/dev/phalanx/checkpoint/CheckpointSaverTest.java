package dev.phalanx.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.LocalCheckpointStore.TensorFileWriter;
import dev.phalanx.checkpoint.safetensors.HostMemory;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
final class CheckpointSaverTest {
  private final HostMemory memory = new HostMemory();
  private final Arena snapshots = new Arena(memory.engine(), Device.CPU);
  private final List<Path> published = Collections.synchronizedList(new ArrayList<>());

  @TempDir private Path root = Path.of("");
  private List<Entry> model = List.of();
  private List<Entry> optimizer = List.of();

  @BeforeEach
  void makeState() {
    model = Checkpoints.model(memory, 1);
    optimizer = Checkpoints.optimizer(memory, 1);
  }

  @AfterEach
  void freeMemory() {
    snapshots.close();
    memory.close();
  }

  /** A disk that takes nothing before it is let. */
  private record Gate(CountDownLatch opened) implements TensorFileWriter {
    Gate() {
      this(new CountDownLatch(1));
    }

    @Override
    public SafetensorsWriter.Written write(
        Path file, Map<String, String> metadata, List<Entry> entries) throws IOException {
      try {
        if (!opened.await(30, TimeUnit.SECONDS)) {
          throw new IOException("The test did not open the gate");
        }
      } catch (InterruptedException e) {
        throw new InterruptedIOException();
      }
      return SafetensorsWriter.write(file, metadata, entries);
    }

    void open() {
      opened.countDown();
    }
  }

  /** A disk that fails the first few times. */
  private static TensorFileWriter failing(int times) {
    AtomicInteger left = new AtomicInteger(times);
    return (file, metadata, entries) -> {
      if (left.getAndDecrement() > 0) {
        throw new IOException("No space left on device");
      }
      return SafetensorsWriter.write(file, metadata, entries);
    };
  }

  private CheckpointSaver inBackground(TensorFileWriter disk, int keep) {
    return new CheckpointSaver(
        new LocalCheckpointStore(root, disk), keep, snapshots, published::add);
  }

  private CheckpointSaver atOnce(TensorFileWriter disk, int keep) {
    return new CheckpointSaver(new LocalCheckpointStore(root, disk), keep, null, published::add);
  }

  private void save(CheckpointSaver saver, long step) throws InterruptedException {
    saver.save(Checkpoints.manifest(step), model, optimizer);
  }

  private Path step(long step) {
    return root.resolve(String.format("step-%06d", step));
  }

  @Test
  void whatIsWrittenIsTheStateAtTheMomentOfTheCall() throws Exception {
    Gate gate = new Gate();
    List<byte[]> expected = new ArrayList<>();
    for (Entry entry : model) {
      expected.add(HostMemory.bytes(entry.tensor()));
    }
    byte[] expectedMoments = HostMemory.bytes(optimizer.get(0).tensor());

    try (CheckpointSaver saver = inBackground(gate, 3)) {
      save(saver, 100);
      model.forEach(entry -> HostMemory.setRandom(entry.tensor(), 99));
      optimizer.forEach(entry -> HostMemory.setRandom(entry.tensor(), 99));
      assertThat(published).isEmpty();
      gate.open();
      saver.finish();
    }

    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(step(100))) {
      checkpoint.verify();
      for (int i = 0; i < model.size(); i++) {
        assertThat(Checkpoints.bytes(memory, checkpoint.model(), model.get(i).name()))
            .isEqualTo(expected.get(i));
      }
      assertThat(Checkpoints.bytes(memory, checkpoint.optimizer(), optimizer.get(0).name()))
          .isEqualTo(expectedMoments);
    }
  }

  @Test
  void aLaterSaveTakesTheLaterState() throws Exception {
    try (CheckpointSaver saver = inBackground(SafetensorsWriter::write, 3)) {
      save(saver, 100);
      long reserved = snapshots.bytesReserved();
      HostMemory.setRandom(model.get(0).tensor(), 99);
      save(saver, 200);
      assertThat(snapshots.bytesReserved()).isEqualTo(reserved);
    }

    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(step(200))) {
      assertThat(Checkpoints.bytes(memory, checkpoint.model(), "wte"))
          .isEqualTo(HostMemory.bytes(model.get(0).tensor()));
    }
  }

  @Test
  void aSaveWaitsForTheOneBefore() throws Exception {
    Gate gate = new Gate();
    try (CheckpointSaver saver = inBackground(gate, 3)) {
      save(saver, 100);
      CompletableFuture<Void> opener = CompletableFuture.runAsync(gate::open);
      save(saver, 200);
      assertThat(published).startsWith(step(100));
      assertThat(saver.newest()).contains(step(100));
      opener.get(30, TimeUnit.SECONDS);
    }
  }

  @Test
  void whoeverWaitsWithALimitHearsWhetherItIsDone() throws Exception {
    Gate gate = new Gate();
    try (CheckpointSaver saver = atOnce(gate, 3)) {
      assertThat(saver.awaitDone(Duration.ZERO)).isTrue();
      saver.start(Checkpoints.manifest(100), model, optimizer);
      assertThat(saver.awaitDone(Duration.ofMillis(1))).isFalse();
      gate.open();
      assertThat(saver.awaitDone(Duration.ofSeconds(30))).isTrue();
      assertThat(saver.newest()).contains(step(100));
    }
  }

  @Test
  void theListenerHearsOfEachCheckpointInOrderOnceItIsComplete() throws Exception {
    List<Path> heard = Collections.synchronizedList(new ArrayList<>());
    List<Path> complete = Collections.synchronizedList(new ArrayList<>());
    LocalCheckpointStore store = new LocalCheckpointStore(root);
    try (CheckpointSaver saver =
        new CheckpointSaver(
            store,
            10,
            snapshots,
            directory -> {
              heard.add(directory);
              try (SavedCheckpoint checkpoint = SavedCheckpoint.open(directory)) {
                checkpoint.verify();
                complete.add(directory);
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            })) {
      for (long step = 100; step <= 500; step += 100) {
        save(saver, step);
      }
      saver.finish();
      assertThat(saver.newest()).contains(step(500));
    }

    assertThat(heard).containsExactly(step(100), step(200), step(300), step(400), step(500));
    assertThat(complete).isEqualTo(heard);
  }

  @Test
  void onlyTheNewestAreKept() throws Exception {
    try (CheckpointSaver saver = inBackground(SafetensorsWriter::write, 2)) {
      for (long step = 100; step <= 400; step += 100) {
        save(saver, step);
      }
      saver.finish();
    }

    assertThat(Checkpoints.names(root)).containsExactly("step-000300", "step-000400");
    assertThat(published).hasSize(4);
  }

  @Test
  void withoutSnapshotsASaveReturnsWhenTheCheckpointIsThere() throws Exception {
    try (CheckpointSaver saver = atOnce(SafetensorsWriter::write, 1)) {
      assertThat(saver.newest()).isEmpty();
      save(saver, 100);
      assertThat(published).containsExactly(step(100));
      assertThat(saver.newest()).contains(step(100));
      save(saver, 200);
    }

    assertThat(Checkpoints.names(root)).containsExactly("step-000200");
  }

  @Test
  void withoutSnapshotsAFailureIsThrownAtOnce() throws Exception {
    try (CheckpointSaver saver = atOnce(failing(1), 1)) {
      assertWriteFails(() -> save(saver, 100));
      assertThat(saver.newest()).isEmpty();
      save(saver, 200);
      assertThat(saver.newest()).contains(step(200));
    }
  }

  @Test
  void aFailureInTheBackgroundIsThrownByFinishOnce() throws Exception {
    try (CheckpointSaver saver = inBackground(failing(1), 1)) {
      save(saver, 100);
      assertWriteFails(saver::finish);
      saver.finish();
      assertThat(saver.newest()).isEmpty();
      assertThat(published).isEmpty();
    }
  }

  @Test
  void aFailureInTheBackgroundIsThrownByTheNextSaveAndTheOneAfterSucceeds() throws Exception {
    try (CheckpointSaver saver = inBackground(failing(1), 1)) {
      save(saver, 100);
      assertWriteFails(() -> save(saver, 200));
      save(saver, 300);
      saver.finish();
      assertThat(saver.newest()).contains(step(300));
    }

    assertThat(Checkpoints.names(root)).containsExactly("step-000300");
  }

  private static void assertWriteFails(ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOf(CheckpointWriteException.class)
        .hasMessageContaining("step-000100")
        .hasMessageContaining("No space left on device");
  }

  @Test
  void aListenerThatFailsIsReportedWithItsReason() throws Exception {
    try (CheckpointSaver saver =
        new CheckpointSaver(
            new LocalCheckpointStore(root),
            1,
            snapshots,
            directory -> {
              throw new IllegalStateException("the listener is tired");
            })) {
      save(saver, 100);
      assertThatThrownBy(saver::finish)
          .isInstanceOf(CheckpointWriteException.class)
          .hasMessageContaining(root.toString())
          .hasMessageContaining("the listener is tired");
    }
  }

  @Test
  void finishingWithoutASaveIsNothing() throws Exception {
    try (CheckpointSaver saver = inBackground(SafetensorsWriter::write, 1)) {
      saver.finish();
      assertThat(saver.newest()).isEmpty();
    }
  }

  @Test
  void closingWaitsForTheSaveUnderWay() throws Exception {
    Gate gate = new Gate();
    try (CheckpointSaver saver = inBackground(gate, 1)) {
      save(saver, 100);
      gate.open();
    }

    assertThat(published).containsExactly(step(100));
  }

  @Test
  void closingAfterAFailedSaveIsQuiet() throws Exception {
    try (CheckpointSaver saver = inBackground(failing(1), 1)) {
      save(saver, 100);
    }

    assertThat(Checkpoints.names(root)).isEmpty();
  }

  /** Whoever frees what is written must not do so before. */
  @Test
  void anInterruptDoesNotEndTheWaitForQuiet() throws Exception {
    Gate gate = new Gate();
    try (CheckpointSaver saver = atOnce(gate, 1)) {
      saver.awaitQuiet(); // nothing is written
      saver.start(Checkpoints.manifest(100), model, optimizer);
      Thread.currentThread().interrupt();
      CompletableFuture<Void> opener = CompletableFuture.runAsync(gate::open);
      saver.awaitQuiet();
      assertThat(Thread.interrupted()).isTrue();
      assertThat(published).containsExactly(step(100));
      opener.get(30, TimeUnit.SECONDS);
    }
  }

  @Test
  void otherFilesArePartOfTheCheckpoint() throws Exception {
    List<LocalCheckpointStore.OtherFile> others =
        List.of(
            new LocalCheckpointStore.OtherFile(
                "word.txt", file -> Files.writeString(file, "a word")));
    try (CheckpointSaver saver = inBackground(SafetensorsWriter::write, 1)) {
      saver.start(Checkpoints.manifest(100), model, optimizer, others);
      saver.finish();
    }

    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(step(100))) {
      checkpoint.verify();
      assertThat(checkpoint.manifest().files())
          .extracting(CheckpointManifest.StoredFile::name)
          .contains("word.txt");
    }
    assertThat(step(100).resolve("word.txt")).hasContent("a word");
  }

  @Test
  void anInterruptedWaitCanBeRepeated() throws Exception {
    Gate gate = new Gate();
    try (CheckpointSaver saver = inBackground(gate, 1)) {
      save(saver, 100);
      Thread.currentThread().interrupt();
      assertThatThrownBy(saver::finish).isInstanceOf(InterruptedException.class);
      gate.open();
      saver.finish();
      assertThat(saver.newest()).contains(step(100));
    }
  }

  /** The snapshots are freed after it, and the writer reads them until it is done. */
  @Test
  void anInterruptDoesNotCutTheWaitOfCloseShort() throws Exception {
    Gate gate = new Gate();
    CheckpointSaver saver = inBackground(gate, 1);
    save(saver, 100);
    Thread.currentThread().interrupt();
    assertThatThrownBy(saver::finish).isInstanceOf(InterruptedException.class);
    Thread.currentThread().interrupt();
    gate.open();
    saver.close();

    assertThat(Thread.interrupted()).isTrue();
    assertThat(published).containsExactly(step(100));
  }
}
