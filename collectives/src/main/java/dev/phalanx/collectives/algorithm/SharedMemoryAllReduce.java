package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * All-reduce by ranks that read each other's memory: every rank adds the others' values of its part
 * to its own, then takes the other parts from those who have completed them. Each byte is read and
 * written as often as a sum needs; nothing is copied on the way, and no message has content but the
 * first.
 *
 * <p>Steps of {@link #STEP_BYTES} follow each other, so that a part is taken while it is still in
 * the cache that cores share.
 *
 * <p>Cost: 3 α + (n - 1) / n m (β + γ), with β for a byte copied and γ for one added.
 */
public final class SharedMemoryAllReduce {
  private static final int STEP_BYTES = 1 << 20;

  private SharedMemoryAllReduce() {}

  /** Whether all ranks' tensors are in shared memory; if not, nothing was done. */
  public static boolean run(
      Exchange exchange, SharedBlocks blocks, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    SharedBlocks.Locations locations = blocks.meet(exchange, tensor);
    if (locations == null) {
      return false;
    }
    int rank = exchange.rank();
    int size = exchange.size();
    // The first part is the longest one.
    int steps = stepChunk(exchange, tensor, 0).pieces();
    for (int step = 0; step <= steps; step++) {
      if (step < steps) {
        Chunk own = stepChunk(exchange, tensor, rank);
        if (step < own.pieces()) {
          SharedMemorySum.add(
              exchange,
              blocks,
              locations,
              tensor.dtype(),
              operation,
              own.start(step),
              own.piece(step));
        }
        Signals.toAll(exchange);
      }
      if (step > 0) {
        for (int distance = 1; distance < size; distance++) {
          int peer = exchange.neighbour(distance);
          Signals.from(exchange, peer);
          Chunk theirs = stepChunk(exchange, tensor, peer);
          if (step - 1 < theirs.pieces()) {
            ByteBuffer into = theirs.piece(step - 1);
            into.put(blocks.view(locations, peer, theirs.start(step - 1), into.remaining()));
          }
        }
      }
    }
    Signals.meet(exchange); // others may still read what the caller changes next
    exchange.requireUnchanged();
    return true;
  }

  private static Chunk stepChunk(Exchange exchange, Tensor tensor, int part) {
    Chunk chunk = exchange.part(tensor, part);
    return new Chunk(tensor, chunk.first(), chunk.elements(), STEP_BYTES);
  }
}
