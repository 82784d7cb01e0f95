package dev.phalanx.sharding;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;

/** Puts what ranks hold of a parameter together. */
public final class PartitionCopy {
  private PartitionCopy() {}

  /**
   * Puts a rank's part in its place.
   *
   * @param part of the part's shape
   * @param whole of the whole's shape
   */
  public static void toWhole(Engine engine, Partition partition, Tensor part, Tensor whole) {
    try (Tensor wholeMatrix = matrix(whole, partition.whole());
        Tensor partMatrix = matrix(part, partition.shape())) {
      long row = 0;
      for (Partition.Block block : partition.blocks()) {
        try (Tensor rows = wholeMatrix.slice(0, block.row(), block.rows());
            Tensor inWhole = rows.slice(1, block.column(), block.columns());
            Tensor inPart = partMatrix.slice(0, row, block.rows())) {
          engine.copy(inPart, inWhole);
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
