package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.BlasVectors;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.HostAddress;
import dev.phalanx.engine.host.HostBlock;
import dev.phalanx.engine.host.HostTensors;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.javacpp.DoublePointer;

/**
 * Sums. Single numbers are added up by pieces into a {@code double}, so that their error does not
 * grow with the number of elements.
 */
final class Reductions implements AutoCloseable {
  private static final int PIECE = FloatPiece.SIZE;

  /** Numbers that are added up in FLOAT32: sixteen for each running sum, as BLAS's squares are. */
  private static final int RUN = 128;

  private final NativeArrays arrays;
  private final BlasVectors blas = new BlasVectors();
  private final HostBlock wide = HostMemory.allocate(PIECE * Double.BYTES);
  private final double[] doubles = new double[PIECE];
  private final FloatPiece piece = new FloatPiece();
  private final FloatPiece sums = new FloatPiece();

  Reductions(NativeArrays arrays) {
    this.arrays = arrays;
  }

  void sum(Tensor x, Tensor out) {
    EngineContract.total("sum", x, out);
    HostTensors.open(x);
    double total = 0;
    DoublePointer copy = new DoublePointer(new HostAddress(wide.address()));
    for (long start = 0; start < x.elementCount(); start += PIECE) {
      int count = (int) Math.min(PIECE, x.elementCount() - start);
      if (x.dtype() == DType.FLOAT32) {
        float[] values = piece.read(Floats.at(x.address(), start), count);
        for (int run = 0; run < count; run += RUN) {
          total += FloatRows.sum(values, run, Math.min(RUN, count - run));
        }
      } else {
        arrays.copy(x, start, count, wide.address(), DType.FLOAT64);
        copy.get(doubles, 0, count);
        for (int i = 0; i < count; i++) {
          total += doubles[i];
        }
      }
    }
    arrays.fill(HostTensors.open(out), total);
  }

  void sumRows(Tensor x, Tensor out, boolean accumulate) {
    EngineContract.sumRows(x, out);
    long from = Floats.address("sumRows", x);
    long to = Floats.address("sumRows", out);
    int width = Math.toIntExact(x.size(1));
    int most = FloatPiece.rowsOf(width);
    float[] totals = sums.room(most * width);
    FloatRows.clear(totals, most * width);
    if (accumulate) {
      sums.read(to, width);
    }
    for (long start = 0; start < x.size(0); start += most) {
      int count = (int) Math.min(most, x.size(0) - start) * width;
      FloatRows.add(piece.read(Floats.at(from, start * width), count), totals, count);
    }
    sums.foldRows(width, most);
    sums.write(to, width);
  }

  void squaredNorm(Tensor x, Tensor out) {
    Arguments.floating("squaredNorm", x);
    EngineContract.total("squaredNorm", x, out);
    double total = blas.squares(Floats.address("squaredNorm", x), x.elementCount());
    arrays.fill(HostTensors.open(out), total);
  }

  boolean allFinite(Tensor x) {
    Arguments.onCpu("allFinite", x);
    Arguments.contiguous("allFinite", x);
    if (!x.dtype().isFloatingPoint() || x.elementCount() == 0) {
      return true;
    }
    long address = Floats.address("allFinite", x);
    for (long start = 0; start < x.elementCount(); start += PIECE) {
      int count = (int) Math.min(PIECE, x.elementCount() - start);
      float[] values = piece.read(Floats.at(address, start), count);
      // Nought times a finite number is nought; infinities become no number, which stays in a sum.
      FloatRows.scale(values, 0, count, 0);
      if (FloatRows.sum(values, 0, count) != 0) {
        return false;
      }
    }
    return true;
  }

  @Override
  public void close() {
    wide.free();
  }
}
