package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;

/**
 * All-reduce over two binary trees (Sanders, Speck and Träff, 2009, "Two-tree algorithms for full
 * bandwidth broadcast, reduction and scan"): each half of the tensor is reduced to the root of its
 * tree and sent back down, in pieces that follow each other. Whoever passes on in one tree is a
 * leaf of the other one, so that all links are busy.
 *
 * <p>Cost: 2 ⌈log2 n⌉ (α + b β) + 2 m β, with pieces of b bytes. Where p of its two trees have a
 * parent for it and it has c children in both together, a rank sends (p + c) m / 2 bytes.
 */
public final class DoubleBinaryTreeAllReduce {
  private DoubleBinaryTreeAllReduce() {}

  static double cost(int ranks, long bytes, int pieceBytes, LinkCost link) {
    double piece = Math.min(pieceBytes, bytes / 2.0);
    return 2 * BinaryTree.depth(ranks) * (link.alphaNanos() + piece * link.betaNanos())
        + 2 * bytes * link.betaNanos()
        + 2 * bytes / Math.max(1, piece) * link.alphaNanos();
  }

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    BinaryTree[] trees = {
      BinaryTree.first(exchange.rank(), exchange.size()),
      BinaryTree.second(exchange.rank(), exchange.size())
    };
    Chunk[] halves = {
      exchange.range(tensor, 0, (tensor.elementCount() + 1) / 2),
      exchange.range(tensor, (tensor.elementCount() + 1) / 2, tensor.elementCount() / 2)
    };
    int pieces = Math.max(halves[0].pieces(), halves[1].pieces());
    // Two ranks may be neighbours in both trees. All go by one timetable, so that what one sends
    // comes in the order in which the other one takes it; pieces come down this much later than
    // they went up, so that nobody waits for the way back of the piece that he has just sent.
    int delay = 2 * BinaryTree.depth(exchange.size());
    for (int time = 0; time < pieces + delay; time++) {
      for (int half = 0; half < 2; half++) {
        if (time < halves[half].pieces()) {
          BinaryTreeReduce.up(
              exchange, trees[half], tensor.dtype(), operation, halves[half].piece(time));
        }
      }
      for (int half = 0; half < 2; half++) {
        if (time >= delay && time - delay < halves[half].pieces()) {
          BinaryTreeBroadcast.down(exchange, trees[half], halves[half].piece(time - delay));
        }
      }
    }
    exchange.flush();
  }
}
