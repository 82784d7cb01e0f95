package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Pipelined broadcast down a binary tree: fewer steps than a {@link ChainBroadcast}, but who passes
 * on sends each byte twice.
 *
 * <p>Cost: ⌈log2 n⌉ (α + b β) + 2 m β, with pieces of b bytes; a rank with c children sends c m
 * bytes.
 */
public final class BinaryTreeBroadcast {
  private BinaryTreeBroadcast() {}

  static double cost(int ranks, long bytes, int pieceBytes, LinkCost link) {
    int depth = 32 - Integer.numberOfLeadingZeros(ranks - 1);
    double piece = Math.min(pieceBytes, bytes);
    return depth * (link.alphaNanos() + piece * link.betaNanos())
        + (ranks > 2 ? 2 : 1) * bytes * link.betaNanos();
  }

  public static void run(Exchange exchange, Tensor tensor, int root) throws InterruptedException {
    BinaryTree tree = BinaryTree.rootedAt(root, exchange.rank(), exchange.size());
    Chunk whole = exchange.whole(tensor);
    for (int piece = 0; piece < whole.pieces(); piece++) {
      ByteBuffer values = whole.piece(piece);
      if (!tree.isRoot()) {
        exchange.receive(tree.parent(), values);
      }
      if (tree.left() >= 0) {
        exchange.send(tree.left(), values);
      }
      if (tree.right() >= 0) {
        exchange.send(tree.right(), values);
      }
    }
    exchange.flush();
  }
}
