package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Low-rank approximation of matrices by one step of power iteration, started from the last step's
 * result (Vogels et al., 2019, "PowerSGD").
 *
 * <p>A parameter of two or more dimensions is a matrix M of its outermost size by all others. With
 * the factors as rows, P [rank, rows] and Q [rank, columns], a step is
 *
 * <pre>
 *   M = gradients + residual           of each rank
 *   P = Q M^T, summed over the ranks   start: one all-reduce for all matrices and vectors
 *   P = orthonormal rows
 *   Q = P M                            of each rank
 *   residual = M - P^T Q
 *   Q summed over the ranks            proceed: a second all-reduce
 *   gradients = P^T Q                  and Q is where the next step starts
 * </pre>
 *
 * <p>Vectors, and matrices whose factors are no smaller than they are, travel uncompressed with P.
 * Where a bucket has nothing else there is no second all-reduce.
 *
 * <p>The products that are summed over ranks are the engine's. The last one is plain Java, as the
 * orthonormal rows are: it must give the same bits on all ranks, on which a library may take other
 * paths.
 *
 * <p>A rank sends 2 (n - 1) / n times 4 bytes for each element of a vector and for rank times (rows
 * + columns) of a matrix.
 */
final class PowerSgdReduction extends BucketReduction {
  private static final long SEED = 0x506f776572534744L;

  /**
   * A matrix that is compressed. Its number in order makes its random rows its own.
   *
   * @param offset in the bucket
   * @param leftOffset of P, in what the first round sums
   * @param rightOffset of Q, in what the second round sums
   * @param residual [rows, columns]
   * @param left [rank, rows]: P
   * @param right [rank, columns]: Q
   */
  private record Matrix(
      long offset, long leftOffset, long rightOffset, Tensor residual, Tensor left, Tensor right) {
    long rows() {
      return residual.size(0);
    }

    long columns() {
      return residual.size(1);
    }
  }

  /**
   * Neighbours that travel uncompressed.
   *
   * @param offset in the bucket
   * @param sentOffset in what the first round sums
   * @param values its slice of the residual, which is zero between steps
   * @param sent its slice of what the first round sums
   */
  private record Uncompressed(long offset, long sentOffset, Tensor values, Tensor sent) {}

  private final int factorRank;
  private final Tensor residual; // [elements]
  private final Tensor firstRound; // P of all matrices, then everything uncompressed
  private final Tensor factors; // Q of all matrices
  private final List<Matrix> matrices = new ArrayList<>();
  private final List<Uncompressed> others = new ArrayList<>();
  private final HostMemory hostFirstRound;
  private final HostMemory hostFactors;
  private final GramSchmidt gramSchmidt = new GramSchmidt();
  private final float[] block = new float[HostMemory.BLOCK];
  private final float[][] rightBlocks;

  PowerSgdReduction(
      Arena arena, Communicator communicator, List<Shape> parameters, int factorRank) {
    super(arena, communicator, parameters.stream().mapToLong(Shape::elementCount).sum());
    this.factorRank = factorRank;
    long lefts = 0;
    long rights = 0;
    long uncompressed = 0;
    for (Shape parameter : parameters) {
      if (isCompressed(parameter)) {
        lefts += factorRank * rows(parameter);
        rights += factorRank * columns(parameter);
      } else {
        uncompressed += parameter.elementCount();
      }
    }
    this.residual = arena.zeros(DType.FLOAT32, elementCount());
    this.firstRound = arena.allocate(DType.FLOAT32, lefts + uncompressed);
    this.factors = arena.allocate(DType.FLOAT32, rights);
    this.hostFirstRound = new HostMemory(firstRound);
    this.hostFactors = new HostMemory(factors);
    divide(parameters, lefts);
    this.rightBlocks = new float[matrices.isEmpty() ? 0 : factorRank][HostMemory.BLOCK];
    for (long i = 0; i < rights; i++) {
      hostFactors.putFloat(i, (float) CounterRandom.normal(SEED, i));
    }
  }

  private boolean isCompressed(Shape parameter) {
    return parameter.rank() >= 2
        && factorRank * (rows(parameter) + columns(parameter)) < parameter.elementCount();
  }

  private static long rows(Shape parameter) {
    return parameter.size(0);
  }

  private static long columns(Shape parameter) {
    return parameter.elementCount() / Math.max(1, parameter.size(0));
  }

  /** Fills {@link #matrices} and {@link #others}. */
  private void divide(List<Shape> parameters, long lefts) {
    long offset = 0;
    long left = 0;
    long right = 0;
    long sent = lefts;
    long runStart = 0; // of neighbours that are not compressed
    for (Shape parameter : parameters) {
      long count = parameter.elementCount();
      if (isCompressed(parameter)) {
        sent = addUncompressed(runStart, offset, sent);
        long rows = rows(parameter);
        long columns = columns(parameter);
        matrices.add(
            new Matrix(
                offset,
                left,
                right,
                residual.slice(0, offset, count).reshape(rows, columns),
                firstRound.slice(0, left, factorRank * rows).reshape(factorRank, rows),
                factors.slice(0, right, factorRank * columns).reshape(factorRank, columns)));
        left += factorRank * rows;
        right += factorRank * columns;
        runStart = offset + count;
      }
      offset += count;
    }
    addUncompressed(runStart, offset, sent);
  }

  /** Returns where the next one is sent. */
  private long addUncompressed(long start, long end, long sentOffset) {
    long count = end - start;
    if (count > 0) {
      others.add(
          new Uncompressed(
              start,
              sentOffset,
              residual.slice(0, start, count),
              firstRound.slice(0, sentOffset, count)));
    }
    return sentOffset + count;
  }

  @Override
  void encode(Tensor gradients, long step) {
    engine().addScaled(1, gradients, residual);
    for (Matrix matrix : matrices) {
      engine().matmul(matrix.right(), false, matrix.residual(), true, matrix.left(), 1, false);
    }
    for (Uncompressed other : others) {
      engine().copy(other.values(), other.sent());
      engine().fill(other.values(), 0);
    }
    synchronize();
    allReduce(firstRound);
  }

  @Override
  void handOverSecond() throws InterruptedException {
    await();
    if (matrices.isEmpty()) {
      return;
    }
    for (int i = 0; i < matrices.size(); i++) {
      Matrix matrix = matrices.get(i);
      long seed = CounterRandom.at(SEED, i);
      gramSchmidt.orthonormalize(
          hostFirstRound, matrix.leftOffset(), factorRank, matrix.rows(), seed);
      engine().matmul(matrix.left(), false, matrix.residual(), false, matrix.right(), 1, false);
      engine().matmul(matrix.left(), true, matrix.right(), false, matrix.residual(), -1, true);
    }
    synchronize();
    allReduce(factors);
  }

  @Override
  void decode(Tensor gradients) throws InterruptedException {
    HostMemory sums = new HostMemory(gradients);
    for (Uncompressed other : others) {
      copy(other, sums);
    }
    await();
    for (Matrix matrix : matrices) {
      multiply(matrix, sums);
    }
  }

  private void copy(Uncompressed other, HostMemory sums) {
    long count = other.sent().elementCount();
    for (long start = 0; start < count; start += block.length) {
      int length = (int) Math.min(block.length, count - start);
      hostFirstRound.read(other.sentOffset() + start, block, length);
      sums.write(other.offset() + start, block, length);
    }
  }

  /** P^T Q into the gradients. */
  private void multiply(Matrix matrix, HostMemory sums) {
    long rows = matrix.rows();
    long columns = matrix.columns();
    for (long start = 0; start < columns; start += block.length) {
      int length = (int) Math.min(block.length, columns - start);
      for (int k = 0; k < factorRank; k++) {
        hostFactors.read(matrix.rightOffset() + k * columns + start, rightBlocks[k], length);
      }
      for (long row = 0; row < rows; row++) {
        multiplyRow(matrix, row, length);
        sums.write(matrix.offset() + row * columns + start, block, length);
      }
    }
  }

  /** One row of P^T times {@link #rightBlocks} into {@link #block}. */
  private void multiplyRow(Matrix matrix, long row, int length) {
    Arrays.fill(block, 0, length, 0);
    for (int k = 0; k < factorRank; k++) {
      float factor = hostFirstRound.getFloat(matrix.leftOffset() + k * matrix.rows() + row);
      float[] right = rightBlocks[k];
      for (int i = 0; i < length; i++) {
        block[i] += factor * right[i];
      }
    }
  }

  @Override
  List<Tensor> residuals() {
    return List.of(residual);
  }

  @Override
  public Map<String, Tensor> state() {
    return Map.of("residual", residual);
  }

  @Override
  public Map<String, Tensor> commonState() {
    return Map.of("factors", factors);
  }
}
