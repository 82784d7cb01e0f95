package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Direct all-reduce: every rank sends all it has to every other one and adds up what comes, in the
 * order of ranks, so that all get the same bits. The fewest steps there can be, and the most bytes;
 * what is larger goes in two steps, by {@link TwoShotAllReduce}.
 *
 * <p>Cost: α + (n - 1) m β, and α / 2 for each further peer; a rank sends (n - 1) m bytes.
 */
public final class DirectAllReduce {
  private DirectAllReduce() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    return ranks / 2.0 * link.alphaNanos() + (ranks - 1.0) * bytes * link.betaNanos();
  }

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    int rank = exchange.rank();
    Chunk whole = exchange.whole(tensor);
    for (int piece = 0; piece < whole.pieces(); piece++) {
      ByteBuffer own = whole.piece(piece);
      exchange.sendToOthers(own);
      ByteBuffer sum = exchange.scratch(own);
      for (int peer = 0; peer < exchange.size(); peer++) {
        if (peer == rank) {
          if (rank > 0) {
            exchange.reduce(tensor.dtype(), operation, own, sum);
          }
        } else if (peer == 0) {
          exchange.receive(peer, sum);
        } else {
          exchange.receiveAndReduce(peer, tensor.dtype(), operation, sum);
        }
      }
      exchange.finishReduction(tensor.dtype(), operation, sum);
      exchange.flush(); // others may still read what is overwritten now
      own.duplicate().put(sum.duplicate());
    }
  }
}
