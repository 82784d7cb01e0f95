package dev.phalanx.trainer.tokenizer;

import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.Encoding;
import com.knuddels.jtokkit.api.EncodingType;
import com.knuddels.jtokkit.api.IntArrayList;
import java.nio.charset.StandardCharsets;
import java.util.OptionalInt;

/**
 * GPT-2's byte-pair encoding (Radford et al., 2019), whose vocabulary of 50257 comes with the
 * jtokkit library. {@code <|endoftext|>} has id 50256; in a text it is plain text.
 */
public final class Gpt2Tokenizer implements Tokenizer {
  /** How plan files and token files name it. */
  public static final String NAME = "gpt2";

  private static final int VOCABULARY = 50257;
  private static final int END_OF_TEXT = 50256;

  private final Encoding encoding;

  /** Reads the vocabulary, which takes some tenths of a second. */
  public Gpt2Tokenizer() {
    encoding = Encodings.newLazyEncodingRegistry().getEncoding(EncodingType.R50K_BASE);
  }

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
    return OptionalInt.of(END_OF_TEXT);
  }

  @Override
  public int[] encode(String text) {
    return encoding.encodeOrdinary(text).toArray();
  }

  @Override
  public String decode(int... tokens) {
    StringBuilder text = new StringBuilder();
    IntArrayList known = new IntArrayList(tokens.length);
    for (int token : tokens) {
      if (token >= 0 && token < VOCABULARY) {
        known.add(token);
      } else {
        appendDecoded(known, text);
        text.append('\uFFFD');
      }
    }
    appendDecoded(known, text);
    return text.toString();
  }

  private void appendDecoded(IntArrayList tokens, StringBuilder text) {
    text.append(new String(encoding.decodeBytes(tokens), StandardCharsets.UTF_8));
    tokens.clear();
  }
}
