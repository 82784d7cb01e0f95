package dev.phalanx.trainer.data;

import java.nio.file.Files;
import java.nio.file.Path;

/** Checks of files that a plan or a command names. */
final class InputFiles {
  private InputFiles() {}

  /**
   * @param key what the file was named by: a plan's key, or a command's word for it
   * @throws DataException if the file cannot be read
   */
  static void requireReadable(Path file, String key) {
    if (!Files.exists(file)) {
      throw DataException.inputOutput(
          key,
          file
              + " does not exist (looked for "
              + file.toAbsolutePath().normalize()
              + "); correct "
              + key);
    }
    if (!Files.isRegularFile(file)) {
      throw DataException.inputOutput(key, file + " is no file; write a file's path as " + key);
    }
    if (!Files.isReadable(file)) {
      throw DataException.inputOutput(
          key, file + " may not be read by this user; change its permissions");
    }
  }
}
