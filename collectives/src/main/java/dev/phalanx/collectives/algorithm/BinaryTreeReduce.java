package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Pipelined reduction up a binary tree, the mirror of {@link BinaryTreeBroadcast}. Sums of ranks
 * that pass on are made in memory of the exchange, for their own tensors stay as they are.
 *
 * <p>Cost: ⌈log2 n⌉ (α + b β) + 2 m β, with pieces of b bytes; all ranks but the root send m bytes.
 */
public final class BinaryTreeReduce {
  private BinaryTreeReduce() {}

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation, int root)
      throws InterruptedException {
    BinaryTree tree = BinaryTree.rootedAt(root, exchange.rank(), exchange.size());
    Chunk whole = exchange.whole(tensor);
    for (int piece = 0; piece < whole.pieces(); piece++) {
      ByteBuffer own = whole.piece(piece);
      ByteBuffer values = own;
      if (!tree.isRoot() && (tree.left() >= 0 || tree.right() >= 0)) {
        values = exchange.scratch(own);
      }
      up(exchange, tree, tensor.dtype(), operation, values);
    }
    exchange.flush();
  }

  /** Adds the children's pieces to this rank's and passes the sum on to the parent. */
  static void up(
      Exchange exchange, BinaryTree tree, DType dtype, ReduceOperation operation, ByteBuffer values)
      throws InterruptedException {
    if (tree.left() >= 0) {
      exchange.receiveAndReduce(tree.left(), dtype, operation, values);
    }
    if (tree.right() >= 0) {
      exchange.receiveAndReduce(tree.right(), dtype, operation, values);
    }
    if (tree.isRoot()) {
      exchange.finishReduction(dtype, operation, values);
    } else {
      exchange.send(tree.parent(), values);
    }
  }
}
