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
    double piece = Math.min(pieceBytes, bytes);
    return BinaryTree.depth(ranks) * (link.alphaNanos() + piece * link.betaNanos())
        + (ranks > 2 ? 2 : 1) * bytes * link.betaNanos();
  }

  public static void run(Exchange exchange, Tensor tensor, int root) throws InterruptedException {
    BinaryTree tree = BinaryTree.rootedAt(root, exchange.rank(), exchange.size());
    Chunk whole = exchange.whole(tensor);
    for (int piece = 0; piece < whole.pieces(); piece++) {
      down(exchange, tree, whole.piece(piece));
    }
    exchange.flush();
  }

  /** Takes a piece from the parent and passes it on to the children. */
  static void down(Exchange exchange, BinaryTree tree, ByteBuffer values)
      throws InterruptedException {
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
}
