package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.List;
import org.junit.jupiter.api.Test;

final class ShardLayoutTest {
  /** A matrix of 5 x 4, a vector of 6 and a cube of 2 x 2 x 3: 38 elements. */
  private static List<List<Parameter>> parameters() {
    return List.of(
        List.of(parameter("matrix", 5, 4), parameter("vector", 6), parameter("cube", 2, 2, 3)));
  }

  private static Parameter parameter(String name, long... sizes) {
    return new Parameter(name, Shape.of(sizes), (seed, element) -> 0);
  }

  @Test
  void aRankThatHoldsAllHasTheParametersOwnShapes() {
    assertThat(ShardLayout.ofOnePart(parameters(), 1).partShapes(0))
        .containsExactly(List.of(Shape.of(5, 4), Shape.of(6), Shape.of(2, 2, 3)));
  }

  @Test
  void aMatrixThatIsCutIsItsWholeRows() {
    ShardLayout three = ShardLayout.ofOnePart(parameters(), 3); // 13 elements each, one of padding

    assertThat(three.partShapes(0)).containsExactly(List.of(Shape.of(3, 4), Shape.of(1)));
    assertThat(three.partShapes(1))
        .containsExactly(List.of(Shape.of(3), Shape.of(1, 4), Shape.of(6)));
    assertThat(three.partShapes(2)).containsExactly(List.of(Shape.of(2, 2, 3)));
  }

  /** What compression keeps of the one does not fit the other, though it is of as many elements. */
  @Test
  void aChecksumTellsWhichElementsLieWhere() {
    List<Parameter> all = parameters().get(0);
    List<Parameter> others =
        List.of(parameter("other", 5, 4), parameter("vector", 6), parameter("cube", 2, 2, 3));
    List<List<Parameter>> two = List.of(all.subList(0, 2), all.subList(2, 3));

    assertThat(
            List.of(
                ShardLayout.ofOnePart(List.of(all), 1).checksum(0),
                ShardLayout.ofOnePart(List.of(all), 2).checksum(0),
                ShardLayout.ofOnePart(List.of(all), 2).checksum(1),
                ShardLayout.ofOnePart(two, 1).checksum(0),
                ShardLayout.ofOnePart(List.of(others), 1).checksum(0)))
        .doesNotHaveDuplicates();
    assertThat(ShardLayout.ofOnePart(two, 3).undivided().checksum(0))
        .isEqualTo(ShardLayout.ofOnePart(two, 1).checksum(0));
  }

  @Test
  void everyElementIsInOneShape() {
    for (int ranks = 1; ranks <= 50; ranks++) {
      ShardLayout layout = ShardLayout.ofOnePart(parameters(), ranks);
      long elements = 0;
      for (int rank = 0; rank < ranks; rank++) {
        long ofRank = layout.partShapes(rank).get(0).stream().mapToLong(Shape::elementCount).sum();
        long part = layout.buckets().get(0).paddedCount() / ranks;
        assertThat(ofRank).isEqualTo(Math.max(0, Math.min(part, 38 - rank * part))); // no padding
        elements += ofRank;
      }
      assertThat(elements).isEqualTo(38);
    }
  }
}
