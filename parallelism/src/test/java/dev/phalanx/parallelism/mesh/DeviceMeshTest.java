package dev.phalanx.parallelism.mesh;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class DeviceMeshTest {
  @Test
  void theFirstAxisOfTheOrderHoldsNeighbours() {
    DeviceMesh mesh =
        new DeviceMesh(List.of(Axis.TENSOR, Axis.DATA), Map.of(Axis.TENSOR, 2, Axis.DATA, 3));

    assertThat(mesh.groups(Axis.TENSOR))
        .containsExactly(List.of(0, 1), List.of(2, 3), List.of(4, 5));
    assertThat(mesh.groups(Axis.DATA)).containsExactly(List.of(0, 2, 4), List.of(1, 3, 5));
    assertThat(mesh.groups(Axis.PIPELINE)).hasSize(6);
  }

  @Test
  void anAxisNamedTwiceIsRefused() {
    assertThatThrownBy(() -> new DeviceMesh(List.of(Axis.DATA, Axis.DATA), Map.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("twice");
  }

  @Property
  void groupsOfEachAxisDivideTheWorld(
      @ForAll @IntRange(min = 1, max = 4) int tensor,
      @ForAll @IntRange(min = 1, max = 4) int data,
      @ForAll @IntRange(min = 1, max = 4) int pipeline) {
    DeviceMesh mesh =
        new DeviceMesh(
            List.of(Axis.PIPELINE, Axis.TENSOR, Axis.DATA),
            Map.of(Axis.TENSOR, tensor, Axis.DATA, data, Axis.PIPELINE, pipeline));
    for (Axis axis : Axis.values()) {
      TreeSet<Integer> seen = new TreeSet<>();
      for (List<Integer> group : mesh.groups(axis)) {
        assertThat(group).hasSize(mesh.size(axis));
        for (int i = 0; i < group.size(); i++) {
          assertThat(mesh.coordinate(group.get(i), axis)).isEqualTo(i);
          assertThat(mesh.group(group.get(i), axis)).isEqualTo(group);
        }
        seen.addAll(group);
      }
      assertThat(seen).hasSize(tensor * data * pipeline);
    }
  }

  /** In ascending order, numbered by their first ranks. */
  @Property
  void groupsOfSeveralAxesDivideTheWorldToo(
      @ForAll @IntRange(min = 1, max = 3) int tensor,
      @ForAll @IntRange(min = 1, max = 3) int data,
      @ForAll @IntRange(min = 1, max = 3) int context,
      @ForAll Set<Axis> axes) {
    DeviceMesh mesh =
        new DeviceMesh(
            List.of(Axis.CONTEXT, Axis.PIPELINE, Axis.TENSOR, Axis.DATA),
            Map.of(Axis.TENSOR, tensor, Axis.DATA, data, Axis.CONTEXT, context));
    List<List<Integer>> groups = new ArrayList<>();
    for (int rank = 0; rank < mesh.worldSize(); rank++) {
      List<Integer> group = mesh.group(rank, axes);
      assertThat(group).isSorted().contains(rank).doesNotHaveDuplicates();
      assertThat(group).hasSize(axes.stream().mapToInt(mesh::size).reduce(1, (a, b) -> a * b));
      for (int other : group) {
        for (Axis axis : Axis.values()) {
          if (!axes.contains(axis)) {
            assertThat(mesh.coordinate(other, axis)).isEqualTo(mesh.coordinate(rank, axis));
          }
        }
      }
      if (group.get(0) == rank) {
        groups.add(group);
      }
      assertThat(groups.get(mesh.groupNumber(rank, axes))).isEqualTo(group);
    }
  }
}
