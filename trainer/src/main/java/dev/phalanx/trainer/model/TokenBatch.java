package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.context.ContextGroup;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Tensor;

/**
 * The tokens of one micro-batch on the model's device. It lives until the backward pass is over;
 * closing it frees its tensors.
 *
 * @param batch sequences
 * @param length tokens of each that are here
 * @param tokens [batch * length] INT64
 * @param targets [batch * length] INT64, each token's successor; negative ones do not count
 * @param positions [batch * length] INT64, each token's place in its sequence
 */
public record TokenBatch(long batch, long length, Tensor tokens, Tensor targets, Tensor positions)
    implements AutoCloseable {

  /** Copies those tokens of whole sequences to the arena's device that are this rank's. */
  public static TokenBatch of(
      Arena arena, long batch, long[] tokens, long[] targets, ContextGroup context) {
    if (context.isSingle()) {
      return of(arena, batch, tokens, targets, 0);
    }
    int sequence = Math.toIntExact(tokens.length / batch);
    long length = context.length(sequence);
    int count = Math.toIntExact(batch * length);
    long[] ownTokens = new long[count];
    long[] ownTargets = new long[count];
    long[] positions = new long[count];
    int next = 0;
    for (int number = 0; number < batch; number++) {
      for (ContextGroup.Chunk chunk : context.chunks(sequence)) {
        for (long position = chunk.first(); position < chunk.first() + chunk.count(); position++) {
          int place = Math.toIntExact((long) number * sequence + position);
          ownTokens[next] = tokens[place];
          ownTargets[next] = targets[place];
          positions[next] = position;
          next++;
        }
      }
    }
    return of(arena, batch, ownTokens, ownTargets, positions);
  }

  /** Copies tokens of whole sequences that begin at {@code firstPosition}. */
  public static TokenBatch of(
      Arena arena, long batch, long[] tokens, long[] targets, long firstPosition) {
    long length = tokens.length / batch;
    long[] positions = new long[tokens.length];
    for (int i = 0; i < positions.length; i++) {
      positions[i] = firstPosition + i % length;
    }
    return of(arena, batch, tokens, targets, positions);
  }

  private static TokenBatch of(
      Arena arena, long batch, long[] tokens, long[] targets, long[] positions) {
    return new TokenBatch(
        batch,
        tokens.length / batch,
        HostArrays.upload(arena, tokens),
        HostArrays.upload(arena, targets),
        HostArrays.upload(arena, positions));
  }

  @Override
  public void close() {
    tokens.close();
    targets.close();
    positions.close();
  }
}
