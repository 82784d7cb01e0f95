package dev.phalanx.trainer.tokenizer;

import java.io.IOException;

/** Takes the tokens of a long text, piece by piece, in order. */
@FunctionalInterface
public interface TokenSink {
  /**
   * @param tokens the next tokens, from index 0; the caller may use the array again
   * @param count how many there are
   */
  void accept(int[] tokens, int count) throws IOException;
}
