package dev.phalanx.trainer.tokenizer;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/**
 * Reads a UTF-8 text in pieces that can be encoded one by one.
 *
 * <p>A piece ends before a space that stands between a letter or digit and a letter. The
 * pre-tokenizers of GPT-2, GPT-4 and Llama 3 all start a new word there ({@code " ?\p{L}+"}), and
 * byte-pair merges stay inside words. Only a piece without any such place is cut elsewhere: before
 * white space, or else between two characters.
 */
final class TextPieces {
  /** Small enough that the encoder's own structures stay within some tens of megabytes. */
  static final int DEFAULT_CHARACTERS = 1 << 18;

  private static final int READ_BYTES = 1 << 16;

  private final int pieceCharacters;

  /**
   * @param pieceCharacters the most UTF-16 units in a piece, at least 2
   */
  TextPieces(int pieceCharacters) {
    this.pieceCharacters = pieceCharacters;
  }

  /** Takes one piece of text. */
  @FunctionalInterface
  interface Consumer {
    void accept(String piece) throws IOException;
  }

  void forEach(InputStream text, Consumer consumer) throws IOException {
    CharsetDecoder decoder =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    ByteBuffer bytes = ByteBuffer.allocate(READ_BYTES).flip();
    CharBuffer characters = CharBuffer.allocate(pieceCharacters);
    long bytesBefore = 0; // of the text before the buffer's index 0
    boolean atEnd = false;
    while (true) {
      CoderResult result = decoder.decode(bytes, characters, atEnd);
      if (result.isError()) {
        throw new MalformedTextException(bytesBefore + bytes.position());
      }
      if (result.isOverflow()) {
        emit(characters, cut(characters.array(), characters.position()), consumer);
      } else if (atEnd) {
        break;
      } else {
        bytesBefore += bytes.position();
        bytes.compact();
        int read = text.read(bytes.array(), bytes.position(), bytes.remaining());
        atEnd = read < 0;
        bytes.position(bytes.position() + Math.max(0, read)).flip();
      }
    }
    emit(characters, characters.position(), consumer);
  }

  private static void emit(CharBuffer characters, int length, Consumer consumer)
      throws IOException {
    if (length == 0) {
      return;
    }
    String piece = new String(characters.array(), 0, length);
    characters.flip().position(length);
    characters.compact();
    consumer.accept(piece);
  }

  /** How many of the characters make the next piece; at least one. */
  static int cut(char[] characters, int length) {
    int shortest = Math.max(1, length / 2);
    for (int i = length - 2; i >= shortest; i--) {
      if (characters[i] == ' '
          && Character.isLetter(characters[i + 1])
          && Character.isLetterOrDigit(characters[i - 1])) {
        return i;
      }
    }
    for (int i = length - 2; i >= shortest; i--) {
      if (Character.isWhitespace(characters[i]) && !Character.isWhitespace(characters[i + 1])) {
        return i;
      }
    }
    return length > 1 && Character.isHighSurrogate(characters[length - 1]) ? length - 1 : length;
  }
}
