package dev.phalanx.trainer.data;

import dev.phalanx.trainer.tokenizer.TokenSink;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Objects;
import java.util.UUID;
import java.util.zip.CRC32C;

/**
 * Writes a token file of any length. The tokens go to a file aside, in the same folder, which
 * {@link #publish} renames: the file is there whole or not at all. Closed without being published,
 * the writer leaves nothing behind. For one thread.
 */
public final class TokenFileWriter implements TokenSink, AutoCloseable {
  private static final int BUFFER_BYTES = 1 << 18;

  private final Path file;
  private final Path aside;
  private final String tokenizerName;
  private final long vocabularySize;
  private final TokenWidth width;
  private final FileChannel channel;
  private final ByteBuffer buffer =
      ByteBuffer.allocateDirect(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private final CRC32C checksum = new CRC32C();
  private long count;
  private long maximumToken = -1;
  private boolean published;

  /**
   * Starts a file, and its folder where there is none.
   *
   * @param tokenizerName what the file says that its tokens come from
   * @param vocabularySize each token is below it; it fixes the bytes that a token takes
   */
  public TokenFileWriter(Path file, String tokenizerName, long vocabularySize) throws IOException {
    this.file = file;
    this.tokenizerName = tokenizerName;
    this.vocabularySize = vocabularySize;
    this.width = TokenWidth.of(vocabularySize);
    int headerBytes = TokenFileHeader.lengthFor(tokenizerName);
    Path folder = Objects.requireNonNull(file.toAbsolutePath().getParent(), "a file has a folder");
    Files.createDirectories(folder);
    this.aside = folder.resolve("." + file.getFileName() + "." + UUID.randomUUID() + ".part");
    aside.toFile().deleteOnExit(); // should the process end before close
    this.channel = FileChannel.open(aside, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    channel.position(headerBytes);
  }

  /** Tokens so far. */
  public long count() {
    return count;
  }

  /** The largest token so far, -1 before the first. */
  public long maximumToken() {
    return maximumToken;
  }

  /**
   * Appends tokens.
   *
   * @throws IllegalArgumentException if a token is outside of the vocabulary
   */
  @Override
  public void accept(int[] tokens, int tokenCount) throws IOException {
    Objects.checkFromIndexSize(0, tokenCount, tokens.length);
    for (int i = 0; i < tokenCount; i++) {
      if (tokens[i] < 0 || tokens[i] >= vocabularySize) {
        throw new IllegalArgumentException(
            "token "
                + (count + i)
                + " is "
                + tokens[i]
                + ", expected 0 to "
                + (vocabularySize - 1));
      }
      maximumToken = Math.max(maximumToken, tokens[i]);
    }
    int done = 0;
    while (done < tokenCount) {
      int part = Math.min(tokenCount - done, buffer.remaining() / width.bytes());
      width.put(tokens, done, part, buffer);
      done += part;
      if (buffer.remaining() < width.bytes()) {
        flush();
      }
    }
    count += tokenCount;
  }

  /**
   * Ends the file and makes it visible under its name, in place of an older one.
   *
   * @param sourceDigest {@link SourceDigest} of the inputs, 32 bytes
   */
  void publish(long documents, boolean endOfTextBetweenDocuments, byte[] sourceDigest)
      throws IOException {
    flush();
    TokenFileHeader header =
        new TokenFileHeader(
            width,
            endOfTextBetweenDocuments,
            count,
            documents,
            vocabularySize,
            maximumToken,
            (int) checksum.getValue(),
            sourceDigest,
            tokenizerName);
    ByteBuffer bytes = header.encode();
    long position = 0;
    while (bytes.hasRemaining()) {
      position += channel.write(bytes, position);
    }
    channel.force(true);
    channel.close();
    Files.move(aside, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    published = true;
  }

  /** Ends the file as {@link #publish} does, as one document from no known source. */
  public void publish() throws IOException {
    publish(1, false, new byte[TokenFileHeader.DIGEST_BYTES]);
  }

  private void flush() throws IOException {
    buffer.flip();
    checksum.update(buffer.duplicate());
    while (buffer.hasRemaining()) {
      channel.write(buffer);
    }
    buffer.clear();
  }

  @Override
  public void close() throws IOException {
    try {
      channel.close();
    } finally {
      if (!published) {
        Files.deleteIfExists(aside);
      }
    }
  }
}
