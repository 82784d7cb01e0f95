package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.context.ContextGroup;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import java.util.stream.LongStream;

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
    int sequence = Math.toIntExact(tokens.length / batch);
    long length = context.length(sequence);
    long[] places = new long[Math.toIntExact(batch * length)];
    int next = 0;
    for (int number = 0; number < batch; number++) {
      for (ContextGroup.Chunk chunk : context.chunks(sequence)) {
        for (long i = chunk.first(); i < chunk.first() + chunk.count(); i++) {
          places[next++] = (long) number * sequence + i;
        }
      }
    }
    return new TokenBatch(
        batch,
        length,
        upload(arena, at(tokens, places)),
        upload(arena, at(targets, places)),
        upload(arena, LongStream.of(places).map(place -> place % sequence).toArray()));
  }

  private static long[] at(long[] values, long[] places) {
    return places.length == values.length
        ? values // all of them, in their order
        : LongStream.of(places).map(place -> values[(int) place]).toArray();
  }

  /** Copies tokens of whole sequences that begin at {@code firstPosition}. */
  public static TokenBatch of(
      Arena arena, long batch, long[] tokens, long[] targets, long firstPosition) {
    long length = tokens.length / batch;
    long[] positions =
        LongStream.range(0, tokens.length).map(i -> firstPosition + i % length).toArray();
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
