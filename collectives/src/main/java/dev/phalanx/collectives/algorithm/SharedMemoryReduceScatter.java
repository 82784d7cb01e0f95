package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Reduce-scatter by ranks that read each other's memory, the first half of a {@link
 * SharedMemoryAllReduce}.
 *
 * <p>Cost: 2 α + (n - 1) / n m γ.
 */
public final class SharedMemoryReduceScatter {
  private SharedMemoryReduceScatter() {}

  /** Whether all ranks' inputs are in shared memory; if not, nothing was done. */
  public static boolean run(
      Exchange exchange,
      SharedBlocks blocks,
      Tensor input,
      Tensor output,
      ReduceOperation operation)
      throws InterruptedException {
    SharedBlocks.Locations locations = blocks.meet(exchange, input);
    if (locations == null) {
      return false;
    }
    Chunk own = exchange.part(input, exchange.rank());
    Chunk result = exchange.whole(output);
    for (int piece = 0; piece < own.pieces(); piece++) {
      ByteBuffer into = result.piece(piece);
      if (input.address() + own.start(piece) != output.address() + result.start(piece)) {
        into.duplicate().put(own.piece(piece));
      }
      SharedMemorySum.add(
          exchange, blocks, locations, input.dtype(), operation, own.start(piece), into);
    }
    Signals.meet(exchange);
    exchange.requireUnchanged();
    return true;
  }
}
