package dev.phalanx.collectives.algorithm;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class BinaryTreeTest {
  private static final int MOST_RANKS = 200;

  private static List<BinaryTree> tree(int size, int which) {
    return IntStream.range(0, size)
        .mapToObj(rank -> which == 0 ? BinaryTree.first(rank, size) : BinaryTree.second(rank, size))
        .toList();
  }

  private static boolean hasChildren(BinaryTree node) {
    return node.left() >= 0 || node.right() >= 0;
  }

  /** Of a tree that has been seen to have no circles. */
  private static int depth(List<BinaryTree> tree, int rank) {
    int depth = 0;
    for (int at = rank; !tree.get(at).isRoot(); at = tree.get(at).parent()) {
      depth++;
      assertThat(depth).as("steps from rank %d to the root", rank).isLessThan(tree.size());
    }
    return depth;
  }

  private static void checkTree(List<BinaryTree> tree) {
    int size = tree.size();
    assertThat(tree.stream().filter(BinaryTree::isRoot)).as("roots of %d ranks", size).hasSize(1);
    int deepest = Integer.SIZE - Integer.numberOfLeadingZeros(size - 1) + 1;
    List<Integer> children = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      for (int child : new int[] {tree.get(rank).left(), tree.get(rank).right()}) {
        if (child >= 0) {
          children.add(child);
          assertThat(tree.get(child).parent())
              .as("parent of %d of %d", child, size)
              .isEqualTo(rank);
        }
      }
      assertThat(depth(tree, rank))
          .as("depth of %d of %d", rank, size)
          .isLessThanOrEqualTo(deepest);
    }
    assertThat(children)
        .as("children among %d ranks", size)
        .doesNotHaveDuplicates()
        .hasSize(size - 1);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void eachOfTheTwoIsATreeThatIsNotDeep(int which) {
    for (int size = 1; size <= MOST_RANKS; size++) {
      checkTree(tree(size, which));
    }
  }

  @Test
  void noRankPassesOnInBothTrees() {
    for (int size = 1; size <= MOST_RANKS; size++) {
      List<BinaryTree> first = tree(size, 0);
      List<BinaryTree> second = tree(size, 1);
      for (int rank = 0; rank < size; rank++) {
        assertThat(hasChildren(first.get(rank)) && hasChildren(second.get(rank)))
            .as("rank %d of %d passes on in both", rank, size)
            .isFalse();
      }
    }
  }

  @Test
  void anyRankCanBeTheRoot() {
    for (int size = 1; size <= 40; size++) {
      for (int root = 0; root < size; root++) {
        int chosen = root;
        int ranks = size;
        List<BinaryTree> tree =
            IntStream.range(0, size)
                .mapToObj(rank -> BinaryTree.rootedAt(chosen, rank, ranks))
                .toList();
        assertThat(tree.get(root).isRoot()).as("rank %d of %d is the root", root, size).isTrue();
        checkTree(tree);
      }
    }
  }
}
