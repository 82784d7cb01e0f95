package dev.phalanx.trainer.model;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;

/**
 * The tokens of one micro-batch on the model's device. It lives until the backward pass is over;
 * closing it frees its tensors.
 *
 * @param batch sequences
 * @param length tokens of each
 * @param tokens [batch * length] INT64
 * @param targets [batch * length] INT64, each token's successor; negative ones do not count
 * @param positions [batch * length] INT64, each token's place in its sequence
 */
public record TokenBatch(long batch, long length, Tensor tokens, Tensor targets, Tensor positions)
    implements AutoCloseable {

  /** Copies tokens to the arena's device. */
  public static TokenBatch of(Arena arena, long batch, long[] tokens, long[] targets) {
    return of(arena, batch, tokens, targets, 0);
  }

  /** Copies tokens whose sequences begin at {@code firstPosition}. */
  public static TokenBatch of(
      Arena arena, long batch, long[] tokens, long[] targets, long firstPosition) {
    long length = tokens.length / batch;
    long[] positions = new long[tokens.length];
    for (int i = 0; i < positions.length; i++) {
      positions[i] = firstPosition + i % length;
    }
    return new TokenBatch(
        batch, length, upload(arena, tokens), upload(arena, targets), upload(arena, positions));
  }

  private static Tensor upload(Arena arena, long[] values) {
    Tensor tensor = arena.allocate(DType.INT64, Shape.of(values.length));
    if (arena.device().isCpu()) {
      put(tensor, values);
      return tensor;
    }
    try (Arena host = new Arena(arena.engine(), Device.CPU)) {
      Tensor staged = host.allocate(DType.INT64, Shape.of(values.length));
      put(staged, values);
      arena.engine().copy(staged, tensor);
      arena.engine().synchronize(arena.device());
    }
    return tensor;
  }

  private static void put(Tensor tensor, long[] values) {
    LongBuffer buffer =
        tensor.byteBuffer(0, Math.multiplyExact(values.length, Long.BYTES)).asLongBuffer();
    buffer.put(values);
  }

  @Override
  public void close() {
    tokens.close();
    targets.close();
    positions.close();
  }
}
