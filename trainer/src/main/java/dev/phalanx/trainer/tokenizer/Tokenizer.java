package dev.phalanx.trainer.tokenizer;

import java.io.IOException;
import java.io.InputStream;
import java.util.OptionalInt;

/**
 * Turns text into token ids and back. Ids run from 0 to {@link #vocabularySize()} - 1.
 *
 * <p>What a text says is data: the spelling of a special token, such as {@code <|endoftext|>}, is
 * encoded like any other text by {@link ByteTokenizer} and {@link Gpt2Tokenizer}.
 *
 * <p>Any thread may call a tokenizer, also several at once, until it is closed.
 */
public sealed interface Tokenizer extends AutoCloseable
    permits ByteTokenizer, Gpt2Tokenizer, HuggingFaceTokenizer {
  /**
   * The tokenizer's identity, as token files record it: two tokenizers of one name encode alike.
   */
  String name();

  /** One more than the largest id. */
  int vocabularySize();

  /** The id that ends a document, where the vocabulary has one. */
  OptionalInt endOfText();

  int[] encode(String text);

  /**
   * The text of these tokens. Bytes that are not UTF-8, as a cut through a character leaves them,
   * become U+FFFD, and so do ids outside of the vocabulary.
   */
  String decode(int... tokens);

  /**
   * Encodes a UTF-8 text of any length in pieces and leaves the stream open. Pieces end between two
   * words, where byte-pair encodings never join anything, so the tokens are those of the whole
   * text; a tokenizer that puts a mark before each text puts it before each piece.
   *
   * @throws MalformedTextException where the text is not UTF-8 (bytes take any text)
   * @throws IOException as the stream and the sink throw it
   */
  default void encode(InputStream text, TokenSink sink) throws IOException {
    new TextPieces(TextPieces.DEFAULT_CHARACTERS)
        .forEach(
            text,
            piece -> {
              int[] tokens = encode(piece);
              sink.accept(tokens, tokens.length);
            });
  }

  /** Frees native memory, where there is any; the tokenizer is not usable afterwards. */
  @Override
  default void close() {}
}
