package dev.phalanx.trainer.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32C;

/**
 * A token file, as {@code phalanx data prepare} makes it, mapped into memory: opening costs no
 * reading, ranks of one host share the pages, and files larger than memory work. {@link #close()}
 * unmaps it at once.
 */
public final class TokenFile implements TokenSource {
  private static final int VERIFY_TOKENS = 1 << 16;

  private final String name;
  private final TokenFileHeader header;
  private final MappedTokens tokens;

  private TokenFile(String name, TokenFileHeader header, MappedTokens tokens) {
    this.name = name;
    this.header = header;
    this.tokens = tokens;
  }

  /**
   * Opens a token file and checks its header, but not every token (see {@link #verify()}).
   *
   * @throws DataException if the file is missing, no token file, cut off or changed
   */
  public static TokenFile open(Path file) {
    return open(file, MappedTokens.DEFAULT_SEGMENT_BYTES);
  }

  static TokenFile open(Path file, long segmentBytes) {
    InputFiles.requireReadable(file, "data.path");
    try {
      TokenFileHeader header = readHeader(file);
      return new TokenFile(
          file.toString(),
          header,
          new MappedTokens(file, header.length(), header.count(), header.width(), segmentBytes));
    } catch (IOException e) {
      throw DataException.inputOutput(
          file + " cannot be mapped into memory: " + e + "; check the file system", e);
    }
  }

  private static TokenFileHeader readHeader(Path file) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(TokenFileHeader.MOST_BYTES);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      while (bytes.hasRemaining() && channel.read(bytes) >= 0) {}
      return TokenFileHeader.decode(bytes.flip(), channel.size(), file.toString());
    }
  }

  /** Whether a file looks like a token file, damaged or not. */
  static boolean isTokenFile(Path file) throws IOException {
    byte[] start = new byte[8];
    try (InputStream in = Files.newInputStream(file)) {
      return in.readNBytes(start, 0, start.length) == start.length
          && new String(start, StandardCharsets.US_ASCII).equals("PHXTOKEN");
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long count() {
    return header.count();
  }

  @Override
  public long vocabularySize() {
    return header.vocabularySize();
  }

  @Override
  public long maximumToken() {
    return header.maximumToken();
  }

  /** What the tokens were made with; see {@code Tokenizer.name()}. */
  public String tokenizerName() {
    return header.tokenizerName();
  }

  /** Input files that the tokens were made from. */
  public long documents() {
    return header.documents();
  }

  /** Whether an end-of-text token follows each document. */
  public boolean hasEndOfText() {
    return header.endOfTextBetweenDocuments();
  }

  /** Bytes that a token takes in the file: 1, 2 or 4. */
  public int bytesPerToken() {
    return header.width().bytes();
  }

  byte[] sourceDigest() {
    return header.sourceDigest().clone();
  }

  @Override
  public void read(long start, int length, long[] out, int offset) {
    tokens.read(start, length, out, offset);
  }

  /**
   * Reads the whole file and compares it with the header's checksum.
   *
   * @throws DataException if a token has changed since the file was made
   */
  public void verify() {
    CRC32C checksum = new CRC32C();
    long[] part = new long[VERIFY_TOKENS];
    int[] narrow = new int[VERIFY_TOKENS];
    ByteBuffer bytes =
        ByteBuffer.allocate(VERIFY_TOKENS * header.width().bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (long start = 0; start < header.count(); start += VERIFY_TOKENS) {
      int length = (int) Math.min(VERIFY_TOKENS, header.count() - start);
      read(start, length, part, 0);
      for (int i = 0; i < length; i++) {
        narrow[i] = (int) part[i];
      }
      bytes.clear();
      header.width().put(narrow, 0, length, bytes);
      checksum.update(bytes.flip());
    }
    int found = (int) checksum.getValue();
    if (found != header.tokensChecksum()) {
      throw DataException.inputOutput(
          String.format(
              "%s is damaged: its tokens give checksum %08x, but its header says %08x; make it"
                  + " again with \"phalanx data prepare\", or copy it again",
              name, found, header.tokensChecksum()));
    }
  }

  @Override
  public void close() {
    tokens.close();
  }
}
