package dev.phalanx.trainer.tokenizer;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.OptionalInt;

/** The bytes of the UTF-8 text, as they are: 256 tokens, none of them special. */
public final class ByteTokenizer implements Tokenizer {
  /** How plan files and token files name it. */
  public static final String NAME = "bytes";

  private static final int VOCABULARY = 256;
  private static final byte[] REPLACEMENT = "\uFFFD".getBytes(StandardCharsets.UTF_8);
  private static final int READ_BYTES = 1 << 16;

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public int vocabularySize() {
    return VOCABULARY;
  }

  @Override
  public OptionalInt endOfText() {
    return OptionalInt.empty();
  }

  @Override
  public int[] encode(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int[] tokens = new int[bytes.length];
    widen(bytes, bytes.length, tokens);
    return tokens;
  }

  /** Takes any bytes, UTF-8 or not. */
  @Override
  public void encode(InputStream text, TokenSink sink) throws IOException {
    byte[] bytes = new byte[READ_BYTES];
    int[] tokens = new int[READ_BYTES];
    for (int read = text.read(bytes); read >= 0; read = text.read(bytes)) {
      widen(bytes, read, tokens);
      sink.accept(tokens, read);
    }
  }

  @Override
  public String decode(int... tokens) {
    byte[] bytes = new byte[tokens.length];
    int length = 0;
    for (int token : tokens) {
      if (token >= 0 && token < VOCABULARY) {
        bytes = withRoomFor(bytes, length, 1);
        bytes[length++] = (byte) token;
      } else {
        bytes = withRoomFor(bytes, length, REPLACEMENT.length);
        System.arraycopy(REPLACEMENT, 0, bytes, length, REPLACEMENT.length);
        length += REPLACEMENT.length;
      }
    }
    return new String(bytes, 0, length, StandardCharsets.UTF_8);
  }

  private static void widen(byte[] bytes, int length, int[] tokens) {
    for (int i = 0; i < length; i++) {
      tokens[i] = bytes[i] & 0xFF;
    }
  }

  private static byte[] withRoomFor(byte[] bytes, int length, int more) {
    return length + more <= bytes.length
        ? bytes
        : Arrays.copyOf(bytes, Math.max(length + more, 2 * bytes.length));
  }
}
