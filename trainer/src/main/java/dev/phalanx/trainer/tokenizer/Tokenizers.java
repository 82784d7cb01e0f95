package dev.phalanx.trainer.tokenizer;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/** Opens the tokenizer that a plan file or a command names. */
public final class Tokenizers {
  static final String DIGEST_PREFIX = "tokenizer.json sha256:";

  private Tokenizers() {}

  /**
   * Whether a specification is the name of a tokenizer that only says which file it was read from:
   * it tells two apart, but cannot be opened.
   */
  public static boolean isDigest(String specification) {
    return specification.startsWith(DIGEST_PREFIX);
  }

  /**
   * Opens {@code bytes}, {@code gpt2} or a {@code tokenizer.json}. The caller closes the tokenizer.
   *
   * @param specification {@code bytes}, {@code gpt2}, or the path of a {@code tokenizer.json} or of
   *     a folder that holds one
   * @param baseDirectory what a relative path starts from
   * @throws TokenizerException if there is no such tokenizer
   */
  public static Tokenizer open(String specification, Path baseDirectory) {
    return switch (specification) {
      case ByteTokenizer.NAME -> new ByteTokenizer();
      case Gpt2Tokenizer.NAME -> new Gpt2Tokenizer();
      default -> HuggingFaceTokenizer.open(fileOf(specification, baseDirectory));
    };
  }

  private static Path fileOf(String specification, Path baseDirectory) {
    try {
      Path path = baseDirectory.resolve(specification);
      Path file = Files.isDirectory(path) ? path.resolve("tokenizer.json") : path;
      if (Files.isRegularFile(file)) {
        return file;
      }
      throw new TokenizerException(
          "there is no tokenizer \""
              + specification
              + "\" (no file "
              + file
              + "); write bytes, gpt2 or the path of a tokenizer.json");
    } catch (InvalidPathException e) {
      throw new TokenizerException(
          "\"" + specification + "\" is no path; write bytes, gpt2 or the path of a tokenizer.json",
          e);
    }
  }
}
