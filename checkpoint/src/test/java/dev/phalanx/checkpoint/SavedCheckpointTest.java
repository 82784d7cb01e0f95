package dev.phalanx.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.safetensors.HostMemory;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Checkpoints that were damaged after they were written. */
final class SavedCheckpointTest {
  private final HostMemory memory = new HostMemory();

  @TempDir private Path root = Path.of("");
  private Path directory = Path.of("");

  @BeforeEach
  void save() {
    directory =
        new LocalCheckpointStore(root.resolve("checkpoints"))
            .save(
                Checkpoints.manifest(200),
                Checkpoints.model(memory, 1),
                Checkpoints.optimizer(memory, 1));
  }

  @AfterEach
  void freeMemory() {
    memory.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"model.safetensors", "optimizer.safetensors"})
  void aChangedByteOfATensorIsFoundByVerify(String name) throws IOException {
    Path file = directory.resolve(name);
    try (RandomAccessFile tampered = new RandomAccessFile(file.toFile(), "rw")) {
      tampered.seek(tampered.length() - 5);
      int found = tampered.read();
      tampered.seek(tampered.length() - 5);
      tampered.write(found ^ 1);
    }

    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(directory)) {
      assertThatThrownBy(checkpoint::verify)
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageStartingWith(file + " is damaged: its CRC-32C is ")
          .hasMessageContaining("older checkpoint with --resume");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "model.safetensors, 0",
    "model.safetensors, 100",
    "optimizer.safetensors, 7",
    "model.safetensors, 5000",
  })
  void aFileOfAnotherSizeIsRefused(String name, long length) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(directory.resolve(name).toFile(), "rw")) {
      file.setLength(length);
    }

    assertRefused(directory.resolve(name), "it has " + length + " bytes and was written with");
  }

  @ParameterizedTest
  @ValueSource(strings = {"model.safetensors", "optimizer.safetensors"})
  void aMissingFileIsRefused(String name) throws IOException {
    Files.delete(directory.resolve(name));

    assertRefused(directory.resolve(name), "it is missing");
  }

  @Test
  void aDamagedHeaderIsRefusedWhenItIsOpened() throws IOException {
    Path file = directory.resolve("optimizer.safetensors");
    try (RandomAccessFile tampered = new RandomAccessFile(file.toFile(), "rw")) {
      tampered.seek(8);
      tampered.write('[');
    }

    assertRefused(file, "its header is no JSON object");
  }

  @ParameterizedTest
  @ValueSource(strings = {"model.safetensors", "optimizer.safetensors"})
  void aManifestThatDoesNotListAFileIsRefused(String name) throws IOException {
    replaceInManifest("\"" + name + "\"", "\"other.safetensors\"");

    assertRefused(directory.resolve("checkpoint.json"), "it does not list " + name);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../secret.safetensors",
        "/etc/hostname",
        "sub/../../secret.safetensors",
        "..",
        ".",
        "",
        "a\\\\b",
        "zero\\u0000",
        "half\\ud800",
        "line\\nbreak\\u2028",
      })
  void aManifestCannotNameAFileOutsideOfItsFolder(String name) throws IOException {
    Files.copy(directory.resolve("model.safetensors"), root.resolve("checkpoints/secret"));
    replaceInManifest("\"model.safetensors\"", "\"" + name + "\"");

    assertRefused(directory.resolve("checkpoint.json"), "which is no file in its own folder");
  }

  @Test
  void aCheckpointCanBeOpenedByAnyOfItsPaths() throws IOException {
    Path relative = Path.of("").toAbsolutePath().relativize(directory.toAbsolutePath());
    for (Path path : List.of(relative, relative.resolve("."), relative.resolve("../step-000200"))) {
      try (SavedCheckpoint checkpoint = SavedCheckpoint.open(path)) {
        assertThat(checkpoint.manifest().step()).isEqualTo(200);
      }
    }
  }

  @Test
  void aFolderThatIsNoCheckpointIsNamed() {
    assertThatThrownBy(() -> SavedCheckpoint.open(root))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageStartingWith(root + " is no checkpoint: it has no checkpoint.json");
  }

  private void replaceInManifest(String found, String replacement) throws IOException {
    Path file = directory.resolve("checkpoint.json");
    String text = Files.readString(file);
    assertThat(text).contains(found);
    Files.writeString(file, text.replace(found, replacement));
  }

  private void assertRefused(Path file, String reason) {
    assertThatThrownBy(() -> SavedCheckpoint.open(directory))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageStartingWith(file + " is damaged: ")
        .hasMessageContaining(reason);
  }
}
