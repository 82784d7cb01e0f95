package dev.phalanx.checkpoint;

import dev.phalanx.checkpoint.safetensors.SafetensorsFile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32C;

/**
 * A checkpoint's directory opened for reading.
 *
 * <p>One thread at a time.
 */
public final class SavedCheckpoint implements AutoCloseable {
  static final String MODEL_FILE = "model.safetensors";
  static final String OPTIMIZER_FILE = "optimizer.safetensors";
  private static final int BUFFER_BYTES = 1 << 20;

  private final Path directory;
  private final CheckpointManifest manifest;
  private final SafetensorsFile model;
  private final SafetensorsFile optimizer;

  private SavedCheckpoint(Path directory, CheckpointManifest manifest) throws IOException {
    this.directory = directory;
    this.manifest = manifest;
    this.model = SafetensorsFile.open(directory.resolve(MODEL_FILE));
    try {
      this.optimizer = SafetensorsFile.open(directory.resolve(OPTIMIZER_FILE));
    } catch (IOException | RuntimeException e) {
      model.close();
      throw e;
    }
  }

  /**
   * Reads the manifest and the headers; all files must be there and have the size that the manifest
   * says.
   *
   * @throws BadCheckpointException where the checkpoint is damaged
   */
  public static SavedCheckpoint open(Path directory) throws IOException {
    CheckpointManifest manifest = CheckpointManifest.read(directory);
    for (String name : new String[] {MODEL_FILE, OPTIMIZER_FILE}) {
      if (manifest.files().stream().noneMatch(file -> file.name().equals(name))) {
        throw damaged(directory.resolve(CheckpointManifest.FILE), "it does not list " + name);
      }
    }
    for (CheckpointManifest.StoredFile file : manifest.files()) {
      Path path = directory.resolve(file.name());
      if (!Files.isRegularFile(path)) {
        throw damaged(path, "it is missing");
      }
      if (Files.size(path) != file.bytes()) {
        throw damaged(
            path, "it has " + Files.size(path) + " bytes and was written with " + file.bytes());
      }
    }
    return new SavedCheckpoint(directory, manifest);
  }

  public Path directory() {
    return directory;
  }

  public CheckpointManifest manifest() {
    return manifest;
  }

  /** The fp32 parameters by name. */
  public SafetensorsFile model() {
    return model;
  }

  /** The optimizer's state by {@code KIND.PARAMETER}. */
  public SafetensorsFile optimizer() {
    return optimizer;
  }

  /**
   * Reads every byte and compares the checksums.
   *
   * @throws BadCheckpointException where a file has changed since it was written
   */
  public void verify() throws IOException {
    for (CheckpointManifest.StoredFile file : manifest.files()) {
      Path path = directory.resolve(file.name());
      int found = checksum(path);
      if (found != file.checksum()) {
        throw damaged(
            path,
            String.format("its CRC-32C is %08x and was written as %08x", found, file.checksum()));
      }
    }
  }

  /** The CRC-32C of a file's bytes. */
  static int checksum(Path path) throws IOException {
    CRC32C checksum = new CRC32C();
    byte[] buffer = new byte[BUFFER_BYTES];
    try (InputStream input = Files.newInputStream(path)) {
      for (int count = input.read(buffer); count > 0; count = input.read(buffer)) {
        checksum.update(buffer, 0, count);
      }
    }
    return (int) checksum.getValue();
  }

  private static BadCheckpointException damaged(Path file, String what) {
    return new BadCheckpointException(
        file + " is damaged: " + what + ". Go on from an older checkpoint with --resume DIR.");
  }

  @Override
  public void close() throws IOException {
    try (optimizer) {
      model.close();
    }
  }
}
