package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * All-gather by ranks that read each other's memory.
 *
 * <p>Cost: 2 α + (n - 1) / n m β.
 */
public final class SharedMemoryAllGather {
  private SharedMemoryAllGather() {}

  /** Whether all ranks' inputs are in shared memory; if not, nothing was done. */
  public static boolean run(
      Exchange exchange, SharedBlocks blocks, Tensor input, Tensor output, Parts parts)
      throws InterruptedException {
    SharedBlocks.Locations locations = blocks.meet(exchange, input);
    if (locations == null) {
      return false;
    }
    Copies.copy(exchange.whole(input), parts.chunk(exchange, output, exchange.rank()));
    for (int distance = 1; distance < exchange.size(); distance++) {
      int peer = exchange.neighbour(distance);
      Chunk theirs = parts.chunk(exchange, output, peer);
      long start = theirs.start(0);
      for (int piece = 0; piece < theirs.pieces(); piece++) {
        ByteBuffer into = theirs.piece(piece);
        into.put(blocks.view(locations, peer, theirs.start(piece) - start, into.remaining()));
      }
    }
    Signals.meet(exchange);
    exchange.requireUnchanged();
    return true;
  }
}
