package dev.phalanx.trainer.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** A text file whose bytes are its tokens, mapped into memory as it is. */
final class ByteText implements TokenSource {
  private static final long VOCABULARY = 256;

  private final String name;
  private final MappedTokens tokens;

  private ByteText(String name, MappedTokens tokens) {
    this.name = name;
    this.tokens = tokens;
  }

  static ByteText open(Path file) {
    InputFiles.requireReadable(file, "data.path");
    try {
      return new ByteText(
          file.toString(),
          new MappedTokens(
              file, 0, Files.size(file), TokenWidth.U8, MappedTokens.DEFAULT_SEGMENT_BYTES));
    } catch (IOException e) {
      throw DataException.inputOutput(
          file + " cannot be mapped into memory: " + e + "; check the file system", e);
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long count() {
    return tokens.count();
  }

  @Override
  public long vocabularySize() {
    return VOCABULARY;
  }

  @Override
  public long maximumToken() {
    return count() == 0 ? -1 : VOCABULARY - 1;
  }

  @Override
  public void read(long start, int length, long[] out, int offset) {
    tokens.read(start, length, out, offset);
  }

  @Override
  public void close() {
    tokens.close();
  }
}
