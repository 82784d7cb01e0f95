package dev.phalanx.sharding;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;

/** Copies between whole parameters and what a rank holds of them. */
public final class PartitionCopy {
  private PartitionCopy() {}

  /**
   * Fills a rank's part.
   *
   * @param whole of the whole's shape
   * @param part of the part's shape; padding is left as it is
   */
  public static void fromWhole(Engine engine, Partition partition, Tensor whole, Tensor part) {
    copy(engine, partition, whole, part, false);
  }

  /** Puts a rank's part in its place. */
  public static void toWhole(Engine engine, Partition partition, Tensor part, Tensor whole) {
    copy(engine, partition, whole, part, true);
  }

  private static void copy(
      Engine engine, Partition partition, Tensor whole, Tensor part, boolean isToWhole) {
    try (Tensor wholeMatrix = matrix(whole, partition.whole());
        Tensor partMatrix = matrix(part, partition.shape())) {
      long row = 0;
      for (Partition.Block block : partition.blocks()) {
        try (Tensor rows = wholeMatrix.slice(0, block.row(), block.rows());
            Tensor inWhole = rows.slice(1, block.column(), block.columns());
            Tensor inPart = partMatrix.slice(0, row, block.rows())) {
          if (isToWhole) {
            engine.copy(inPart, inWhole);
          } else {
            engine.copy(inWhole, inPart);
          }
        }
        row += block.rows();
      }
    }
  }

  /** A vector as a matrix of one column. */
  private static Tensor matrix(Tensor tensor, Shape shape) {
    return shape.rank() < 2
        ? tensor.reshape(shape.elementCount(), 1)
        : tensor.reshape(shape.toArray());
  }
}
