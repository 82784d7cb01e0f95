package dev.phalanx.parallelism.mesh;

import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The ranks of a job as a box of named axes. The first axis of the order changes fastest from one
 * rank to the next, so its groups are neighbours (on one host, as a rule); with the order tensor,
 * data and sizes 2 and 3:
 *
 * <pre>
 *             data 0   data 1   data 2
 *   tensor 0     0        2        4
 *   tensor 1     1        3        5
 * </pre>
 *
 * <p>Groups are lists of ranks in ascending coordinate: code asks the mesh for one and hands it on.
 */
public final class DeviceMesh {
  private final List<Axis> order;
  private final Map<Axis, Integer> sizes;
  private final int worldSize;

  /**
   * @param order the axes from the innermost to the outermost
   * @param sizes the ranks along each axis, at least 1; an axis that is left out has size 1
   */
  public DeviceMesh(List<Axis> order, Map<Axis, Integer> sizes) {
    EnumSet<Axis> missing = EnumSet.allOf(Axis.class);
    missing.removeAll(order);
    List<Axis> complete = new ArrayList<>(order);
    complete.addAll(missing);
    if (complete.size() != Axis.values().length) {
      throw new IllegalArgumentException("The order " + order + " names an axis twice");
    }
    EnumMap<Axis, Integer> all = new EnumMap<>(Axis.class);
    long product = 1;
    for (Axis axis : Axis.values()) {
      int size = sizes.getOrDefault(axis, 1);
      if (size < 1) {
        throw new IllegalArgumentException("Axis " + axis.label() + " has size " + size);
      }
      all.put(axis, size);
      product = Math.multiplyExact(product, size);
    }
    this.worldSize = Math.toIntExact(product);
    this.order = List.copyOf(complete);
    this.sizes = Collections.unmodifiableMap(all);
  }

  public int size(Axis axis) {
    return sizes.getOrDefault(axis, 1);
  }

  /** The number of ranks. */
  public int worldSize() {
    return worldSize;
  }

  public List<Axis> order() {
    return order;
  }

  /** Where a rank stands along an axis, from 0. */
  public int coordinate(int rank, Axis axis) {
    requireRank(rank);
    return rank / stride(axis) % size(axis);
  }

  /**
   * The ranks that differ from {@code rank} in their place along {@code axis} alone, {@code rank}
   * among them.
   */
  public List<Integer> group(int rank, Axis axis) {
    return group(rank, Set.of(axis));
  }

  /**
   * The ranks that differ from {@code rank} in their places along some axes alone, in ascending
   * order, {@code rank} among them.
   */
  public List<Integer> group(int rank, Set<Axis> axes) {
    requireRank(rank);
    int first = rank;
    for (Axis axis : axes) {
      first -= coordinate(rank, axis) * stride(axis);
    }
    List<Integer> ranks = List.of(first);
    for (Axis axis : order) { // strides grow, and so do the ranks
      if (axes.contains(axis)) {
        List<Integer> inner = ranks;
        int stride = stride(axis);
        ranks =
            IntStream.range(0, size(axis))
                .boxed()
                .flatMap(place -> inner.stream().map(each -> each + place * stride))
                .toList();
      }
    }
    return ranks;
  }

  /** Which of the groups along some axes a rank is in, counted by their first ranks. */
  public int groupNumber(int rank, Set<Axis> axes) {
    requireRank(rank);
    int number = 0;
    int groups = 1;
    for (Axis axis : order) {
      if (!axes.contains(axis)) {
        number += coordinate(rank, axis) * groups;
        groups *= size(axis);
      }
    }
    return number;
  }

  /** All groups along an axis, by their first rank. */
  public List<List<Integer>> groups(Axis axis) {
    return groups(Set.of(axis));
  }

  /** All groups along some axes, by their first rank. */
  public List<List<Integer>> groups(Set<Axis> axes) {
    return IntStream.range(0, worldSize)
        .filter(rank -> axes.stream().allMatch(axis -> coordinate(rank, axis) == 0))
        .mapToObj(rank -> group(rank, axes))
        .toList();
  }

  private int stride(Axis axis) {
    int stride = 1;
    for (Axis inner : order) {
      if (inner == axis) {
        return stride;
      }
      stride *= size(inner);
    }
    throw new IllegalStateException("Axis " + axis + " is not in the order " + order);
  }

  private void requireRank(int rank) {
    if (rank < 0 || rank >= worldSize) {
      throw new IllegalArgumentException("Rank " + rank + " is not one of " + worldSize);
    }
  }

  @Override
  public String toString() {
    return order.stream()
        .filter(axis -> size(axis) > 1)
        .map(axis -> axis.label() + " " + size(axis))
        .collect(Collectors.joining(" x ", "mesh(", ")"));
  }
}
