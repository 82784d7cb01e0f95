package dev.phalanx.parallelism.expert;

import dev.phalanx.parallelism.context.ContextGroup;

/**
 * What a router has to know of the tokens that it sees: whole sequences, or of each the tokens that
 * are here.
 *
 * @param sequences of the micro-batch
 * @param length tokens of each that are here
 * @param firstPosition the place of the first of them in its sequence, where others went before
 * @param context the ranks that divide the sequences
 * @param weight of one token's loss, by which the losses of routers count too; read only where
 *     something learns
 */
public record RoutedTokens(
    long sequences, long length, long firstPosition, ContextGroup context, double weight) {
  /** The place in its sequence of each token that is here, which all sequences have alike. */
  int[] positions() {
    int[] positions = new int[Math.toIntExact(length)];
    int next = 0;
    for (ContextGroup.Chunk chunk : context.chunks(length * context.size())) {
      for (long i = 0; i < chunk.count(); i++) {
        positions[next++] = Math.toIntExact(firstPosition + chunk.first() + i);
      }
    }
    return positions;
  }
}
