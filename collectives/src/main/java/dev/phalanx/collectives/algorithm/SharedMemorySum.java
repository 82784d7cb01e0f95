package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;

/** Adds what the peers have in shared memory, block by block. */
final class SharedMemorySum {
  /** Stays in a core's own cache while one peer after the other is added. */
  private static final int BLOCK_BYTES = 128 * 1024;

  private SharedMemorySum() {}

  /**
   * @param start where {@code into} begins in the ranks' tensors, in bytes
   * @param into this rank's values at first
   */
  static void add(
      Exchange exchange,
      SharedBlocks blocks,
      SharedBlocks.Locations locations,
      DType dtype,
      ReduceOperation operation,
      long start,
      ByteBuffer into) {
    for (int done = 0; done < into.remaining(); done += BLOCK_BYTES) {
      int length = Math.min(BLOCK_BYTES, into.remaining() - done);
      ByteBuffer block = into.slice(into.position() + done, length).order(into.order());
      for (int distance = 1; distance < exchange.size(); distance++) {
        int peer = exchange.neighbour(distance);
        exchange.reduce(
            dtype, operation, blocks.view(locations, peer, start + done, length), block);
      }
      exchange.finishReduction(dtype, operation, block);
    }
  }
}
