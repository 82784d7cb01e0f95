package dev.phalanx.trainer.data;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.zip.CRC32C;

/**
 * The first bytes of a token file; {@code docs/data-format.md} has the layout.
 *
 * @param endOfTextBetweenDocuments whether an end-of-text token follows each document
 * @param count tokens in the file
 * @param documents input files that the tokens were made from
 * @param maximumToken the largest token, -1 where there are none
 * @param tokensChecksum CRC-32C of the bytes after the header
 * @param sourceDigest {@link SourceDigest} of the input files, 32 bytes
 */
record TokenFileHeader(
    TokenWidth width,
    boolean endOfTextBetweenDocuments,
    long count,
    long documents,
    long vocabularySize,
    long maximumToken,
    int tokensChecksum,
    byte[] sourceDigest,
    String tokenizerName) {
  static final int DIGEST_BYTES = 32;

  /** The bytes before the tokenizer's name. */
  static final int FIXED_BYTES = 128;

  private static final byte[] MAGIC = "PHXTOKEN".getBytes(StandardCharsets.US_ASCII);
  private static final int VERSION = 1;
  private static final int END_OF_TEXT_FLAG = 1;
  private static final int ALIGNMENT = 64;
  private static final int MOST_NAME_BYTES = 4096;

  private static final int LENGTH_OFFSET = 12;
  private static final int CHECKSUM_OFFSET = 96;

  /** The most that a header takes. */
  static final int MOST_BYTES = lengthFor(MOST_NAME_BYTES);

  /** The header's bytes for this tokenizer's name: where the tokens start. */
  static int lengthFor(String tokenizerName) {
    int nameBytes = tokenizerName.getBytes(StandardCharsets.UTF_8).length;
    if (nameBytes > MOST_NAME_BYTES) {
      throw new IllegalArgumentException(
          "a tokenizer's name of " + nameBytes + " bytes is longer than " + MOST_NAME_BYTES);
    }
    return lengthFor(nameBytes);
  }

  private static int lengthFor(int nameBytes) {
    return (FIXED_BYTES + nameBytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  int length() {
    return lengthFor(tokenizerName);
  }

  ByteBuffer encode() {
    byte[] name = tokenizerName.getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes = ByteBuffer.allocate(length()).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(MAGIC).putInt(VERSION).putInt(length());
    bytes.putInt(width.bytes()).putInt(endOfTextBetweenDocuments ? END_OF_TEXT_FLAG : 0);
    bytes.putLong(count).putLong(documents).putLong(vocabularySize).putLong(maximumToken);
    bytes.putInt(tokensChecksum).putInt(name.length).put(sourceDigest);
    bytes.position(FIXED_BYTES).put(name);
    bytes.putInt(CHECKSUM_OFFSET, checksum(bytes));
    return bytes.clear();
  }

  /**
   * Reads a header back and checks it.
   *
   * @param bytes the file's first bytes, {@link #MOST_BYTES} or as many as there are
   * @param fileBytes the length of the file
   * @throws DataException if the file is no token file, cut off or changed
   */
  static TokenFileHeader decode(ByteBuffer bytes, long fileBytes, String file) {
    bytes.order(ByteOrder.LITTLE_ENDIAN);
    int available = bytes.remaining();
    byte[] magic = new byte[Math.min(MAGIC.length, available)];
    bytes.get(0, magic);
    if (!Arrays.equals(magic, MAGIC)) {
      throw DataException.inputOutput(
          file
              + " is no token file: it does not start with PHXTOKEN; make one with \"phalanx data"
              + " prepare\", or write data.kind: text");
    }
    require(
        available >= FIXED_BYTES,
        file,
        "it ends inside of its header, after " + fileBytes + " bytes");
    int version = bytes.getInt(MAGIC.length);
    if (version != VERSION) {
      throw DataException.inputOutput(
          file
              + " is a token file of version "
              + version
              + ", but this program reads version "
              + VERSION
              + "; make it again with this program's \"phalanx data prepare\"");
    }
    int length = bytes.getInt(LENGTH_OFFSET);
    require(
        length >= FIXED_BYTES && length <= MOST_BYTES && length % ALIGNMENT == 0,
        file,
        "its header says that it has " + length + " bytes");
    require(
        available >= length,
        file,
        "it ends after " + fileBytes + " bytes, inside of its header of " + length);
    ByteBuffer header = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    header.put(bytes.slice(0, length)).clear();
    int found = header.getInt(CHECKSUM_OFFSET);
    int computed = checksum(header);
    require(
        found == computed,
        file,
        String.format("its header has checksum %08x, but its bytes give %08x", found, computed));
    TokenFileHeader decoded = fields(header, file);
    long expectedBytes = length + decoded.count * decoded.width.bytes();
    require(
        fileBytes == expectedBytes,
        file,
        "it has "
            + fileBytes
            + " bytes, but its header promises "
            + decoded.count
            + " tokens of "
            + decoded.width.bytes()
            + " bytes, "
            + expectedBytes
            + " bytes in all");
    return decoded;
  }

  private static TokenFileHeader fields(ByteBuffer header, String file) {
    header.position(LENGTH_OFFSET + Integer.BYTES);
    int tokenBytes = header.getInt();
    int flags = header.getInt();
    long count = header.getLong();
    long documents = header.getLong();
    long vocabularySize = header.getLong();
    long maximumToken = header.getLong();
    int tokensChecksum = header.getInt();
    int nameBytes = header.getInt();
    byte[] digest = new byte[DIGEST_BYTES];
    header.get(digest);
    require(
        vocabularySize >= 1 && vocabularySize <= Integer.MAX_VALUE,
        file,
        "its vocabulary size is " + vocabularySize);
    TokenWidth width = TokenWidth.of(vocabularySize);
    require(
        width.bytes() == tokenBytes,
        file,
        "its tokens have "
            + tokenBytes
            + " bytes, but its vocabulary of "
            + vocabularySize
            + " takes "
            + width.bytes());
    require(count >= 0 && count <= Long.MAX_VALUE / 8, file, "its token count is " + count);
    require(
        maximumToken >= -1 && maximumToken < vocabularySize,
        file,
        "its largest token is " + maximumToken + ", but its vocabulary has " + vocabularySize);
    require(
        nameBytes >= 0 && lengthFor(nameBytes) == header.capacity(),
        file,
        "its tokenizer's name has "
            + nameBytes
            + " bytes, which its header of "
            + header.capacity()
            + " does not fit");
    byte[] name = new byte[nameBytes];
    header.get(FIXED_BYTES, name);
    return new TokenFileHeader(
        width,
        (flags & END_OF_TEXT_FLAG) != 0,
        count,
        documents,
        vocabularySize,
        maximumToken,
        tokensChecksum,
        digest,
        new String(name, StandardCharsets.UTF_8));
  }

  private static int checksum(ByteBuffer header) {
    ByteBuffer copy = ByteBuffer.allocate(header.capacity()).order(ByteOrder.LITTLE_ENDIAN);
    copy.put(header.duplicate().clear()).clear();
    copy.putInt(CHECKSUM_OFFSET, 0);
    CRC32C checksum = new CRC32C();
    checksum.update(copy);
    return (int) checksum.getValue();
  }

  private static void require(boolean holds, String file, String found) {
    if (!holds) {
      throw DataException.inputOutput(
          file
              + " is damaged: "
              + found
              + "; make it again with \"phalanx data prepare\", or copy it again");
    }
  }
}
