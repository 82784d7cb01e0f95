package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Pipelined reduction along a chain that ends at the root: each rank adds its values to the pieces
 * that pass, in memory of the exchange, for its own tensor stays as it is.
 *
 * <p>Cost: (n - 1) (α + b β) + m β, with pieces of b bytes; all ranks but the root send m bytes.
 */
public final class ChainReduce {
  private ChainReduce() {}

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation, int root)
      throws InterruptedException {
    boolean isRoot = exchange.rank() == root;
    boolean isFirst = exchange.neighbour(-1) == root;
    Chunk whole = exchange.whole(tensor);
    for (int piece = 0; piece < whole.pieces(); piece++) {
      ByteBuffer own = whole.piece(piece);
      ByteBuffer values = isRoot || isFirst ? own : exchange.scratch(own);
      if (!isFirst) {
        exchange.receiveAndReduce(exchange.neighbour(-1), tensor.dtype(), operation, values);
      }
      if (isRoot) {
        exchange.finishReduction(tensor.dtype(), operation, values);
      } else {
        exchange.send(exchange.neighbour(1), values);
      }
    }
    exchange.flush();
  }
}
