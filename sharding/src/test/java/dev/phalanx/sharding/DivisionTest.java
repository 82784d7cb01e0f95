package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import java.util.List;
import java.util.Optional;
import net.jqwik.api.Example;

final class DivisionTest {
  /** Some rows of a matrix of 10 rows of 4. */
  private static Parameter rows(long first, long count) {
    Partition.Block block = new Partition.Block(first, count, 0, 4, Optional.empty());
    return new Parameter(
        "matrix", new Partition(Shape.of(10, 4), List.of(block), 0), (seed, element) -> 0);
  }

  @Example
  void everyPartOfAParameterIsKnown() {
    Parameter own = rows(0, 5);
    Parameter other = rows(5, 5);
    Division division =
        new Division(
            RecordingCommunicator.alone(2), List.of(own), List.of(List.of(own), List.of(other)));

    assertThat(division.partitionsOf(own)).containsExactly(own.partition(), other.partition());
  }

  @Example
  void partsOfDifferentShapesAreRefused() {
    Parameter own = rows(0, 6);
    assertThatThrownBy(
            () ->
                new Division(
                    RecordingCommunicator.alone(2),
                    List.of(own),
                    List.of(List.of(own), List.of(rows(6, 4)))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("matrix [6, 4]")
        .hasMessageContaining("matrix [4, 4]");
  }
}
