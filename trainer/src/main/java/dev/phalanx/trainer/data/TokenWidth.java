package dev.phalanx.trainer.data;

import java.nio.ByteBuffer;

/** How many bytes a token takes in a file: as few as the vocabulary allows. Little endian. */
enum TokenWidth {
  U8(1, 1L << 8) {
    @Override
    void get(ByteBuffer from, int index, int count, long[] out, int offset) {
      for (int i = 0; i < count; i++) {
        out[offset + i] = from.get(index + i) & 0xFF;
      }
    }

    @Override
    void put(int[] tokens, int start, int count, ByteBuffer to) {
      for (int i = start; i < start + count; i++) {
        to.put((byte) tokens[i]);
      }
    }
  },
  U16(2, 1L << 16) {
    @Override
    void get(ByteBuffer from, int index, int count, long[] out, int offset) {
      for (int i = 0; i < count; i++) {
        out[offset + i] = from.getShort(index + 2 * i) & 0xFFFF;
      }
    }

    @Override
    void put(int[] tokens, int start, int count, ByteBuffer to) {
      for (int i = start; i < start + count; i++) {
        to.putShort((short) tokens[i]);
      }
    }
  },
  I32(4, 1L << 31) {
    @Override
    void get(ByteBuffer from, int index, int count, long[] out, int offset) {
      for (int i = 0; i < count; i++) {
        out[offset + i] = from.getInt(index + 4 * i);
      }
    }

    @Override
    void put(int[] tokens, int start, int count, ByteBuffer to) {
      for (int i = start; i < start + count; i++) {
        to.putInt(tokens[i]);
      }
    }
  };

  private final int bytes;
  private final long largestVocabulary;

  TokenWidth(int bytes, long largestVocabulary) {
    this.bytes = bytes;
    this.largestVocabulary = largestVocabulary;
  }

  int bytes() {
    return bytes;
  }

  /** Reads {@code count} tokens from byte {@code index} of a little-endian buffer. */
  abstract void get(ByteBuffer from, int index, int count, long[] out, int offset);

  /** Appends tokens to a little-endian buffer. */
  abstract void put(int[] tokens, int start, int count, ByteBuffer to);

  /** The narrowest width for tokens below {@code vocabularySize}. */
  static TokenWidth of(long vocabularySize) {
    for (TokenWidth width : values()) {
      if (vocabularySize <= width.largestVocabulary) {
        return width;
      }
    }
    throw new IllegalArgumentException(
        "a vocabulary of " + vocabularySize + " is more than token files hold: " + (1L << 31));
  }
}
