package dev.phalanx.collectives.algorithm;

/**
 * A rank's neighbours in a binary tree over the ranks 0 to n - 1.
 *
 * <p>The tree is numbered in order: with i = rank + 1, whoever has an odd i is a leaf, and a node
 * whose lowest bit is 2^k has its children 2^(k-1) to the left and to the right. Where there is no
 * such rank to the right, the nearest one below takes its place.
 *
 * @param parent -1 of the root
 * @param left -1: none
 * @param right -1: none
 */
record BinaryTree(int parent, int left, int right) {
  /** The first of the two trees: ranks with an even number have no children. */
  static BinaryTree first(int rank, int size) {
    return inOrder(rank, size);
  }

  /**
   * The second one, made of the first by a mirror, or by moving everybody on by one where the
   * number of ranks is odd: whoever has children in one tree has none in the other (Sanders, Speck
   * and Träff, 2009).
   */
  static BinaryTree second(int rank, int size) {
    if (size % 2 == 0) {
      BinaryTree tree = inOrder(size - 1 - rank, size);
      return new BinaryTree(
          mirrored(tree.parent, size), mirrored(tree.left, size), mirrored(tree.right, size));
    }
    BinaryTree tree = inOrder((rank + 1) % size, size);
    return new BinaryTree(
        before(tree.parent, size), before(tree.left, size), before(tree.right, size));
  }

  private static int mirrored(int rank, int size) {
    return rank < 0 ? rank : size - 1 - rank;
  }

  private static int before(int rank, int size) {
    return rank < 0 ? rank : Math.floorMod(rank - 1, size);
  }

  /** The first tree, its ranks moved on so that {@code root} is its root. */
  static BinaryTree rootedAt(int root, int rank, int size) {
    int shift = root - (Integer.highestOneBit(size) - 1);
    BinaryTree tree = inOrder(Math.floorMod(rank - shift, size), size);
    return new BinaryTree(
        moved(tree.parent, shift, size),
        moved(tree.left, shift, size),
        moved(tree.right, shift, size));
  }

  private static int moved(int rank, int shift, int size) {
    return rank < 0 ? rank : Math.floorMod(rank + shift, size);
  }

  private static BinaryTree inOrder(int rank, int size) {
    int node = rank + 1;
    int level = Integer.numberOfTrailingZeros(node);
    int left = level == 0 ? 0 : node - (1 << (level - 1));
    int right = 0;
    for (int below = level - 1; below >= 0 && right == 0; below--) {
      if (node + (1 << below) <= size) {
        right = node + (1 << below);
      }
    }
    return new BinaryTree(parent(node, size) - 1, left - 1, right - 1);
  }

  /** 0 of the root. */
  private static int parent(int node, int size) {
    if (node == Integer.highestOneBit(size)) {
      return 0;
    }
    int lowest = Integer.lowestOneBit(node);
    int parent = (node & (lowest << 1)) == 0 ? node + lowest : node - lowest;
    return parent <= size ? parent : parent(parent, size);
  }

  /** The most steps from the root to a leaf, or one more. */
  static int depth(int size) {
    return Integer.SIZE - Integer.numberOfLeadingZeros(size - 1);
  }

  boolean isRoot() {
    return parent < 0;
  }
}
