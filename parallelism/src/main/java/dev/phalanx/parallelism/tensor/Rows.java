package dev.phalanx.parallelism.tensor;

import dev.phalanx.tensor.autograd.Partition;
import java.util.List;
import java.util.Optional;

/**
 * Some rows of a matrix, or elements of its bias.
 *
 * @param copies empty where no other rank has them
 */
public record Rows(long first, long count, Optional<Partition.Copies> copies) {
  /** Rows that are on this rank alone. */
  public Rows(long first, long count) {
    this(first, count, Optional.empty());
  }

  static List<Partition.Block> blocks(List<Rows> rows, long columns) {
    return rows.stream()
        .map(some -> new Partition.Block(some.first(), some.count(), 0, columns, some.copies()))
        .toList();
  }
}
