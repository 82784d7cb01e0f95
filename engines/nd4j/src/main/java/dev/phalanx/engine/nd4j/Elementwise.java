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

/** Copies, fills and arithmetic element by element. */
final class Elementwise implements AutoCloseable {
  private final NativeArrays arrays;
  private final BlasVectors blas = new BlasVectors();
  private final FloatPiece piece = new FloatPiece();
  private final FloatPiece row = new FloatPiece();
  private final FloatScratch gatheredX = new FloatScratch();
  private final FloatScratch gatheredY = new FloatScratch();

  Elementwise(NativeArrays arrays) {
    this.arrays = arrays;
  }

  void copy(Tensor source, Tensor destination) {
    Arguments.onCpu("copy", source);
    Arguments.onCpu("copy", destination);
    Arguments.sameShape("copy", source, destination);
    arrays.copy(HostTensors.open(source), HostTensors.open(destination));
  }

  void fill(Tensor tensor, double value) {
    Arguments.onCpu("fill", tensor);
    arrays.fill(HostTensors.open(tensor), value);
  }

  void add(Tensor a, Tensor b, Tensor out) {
    EngineContract.add(a, b, out);
    long left = Floats.address("add", a);
    long right = Floats.address("add", b);
    long result = Floats.address("add", out);
    if (a.shape().equals(b.shape())) {
      arrays.add(a, b, out);
    } else if (out.elementCount() > 0) {
      long width = b.size(0);
      long rows = a.elementCount() / width;
      addRow(left, right, rows, width, result);
    }
  }

  /** {@code out = a + row} for each row. */
  private void addRow(long a, long addend, long rows, long width, long out) {
    int rowWidth = Math.toIntExact(width);
    int most = (int) Math.min(rows, FloatPiece.rowsOf(width));
    float[] addends = row.tile(addend, rowWidth, most);
    for (long start = 0; start < rows; start += most) {
      int count = (int) Math.min(most, rows - start);
      float[] values = piece.read(Floats.at(a, start * width), count * rowWidth);
      FloatRows.add(addends, values, count * rowWidth);
      piece.write(Floats.at(out, start * width), count * rowWidth);
    }
  }

  void addScaled(double alpha, Tensor x, Tensor y) {
    Arguments.floating("addScaled", x);
    Arguments.floating("addScaled", y);
    Arguments.sameShape("addScaled", x, y);
    long count = x.elementCount();
    if (count == 0) {
      return;
    }
    if (y.dtype() == DType.FLOAT64) {
      addWide(alpha, HostTensors.open(x), HostTensors.open(y));
      return;
    }
    boolean isXDirect = isDirect(HostTensors.open(x));
    boolean isYDirect = isDirect(HostTensors.open(y));
    long from = isXDirect ? x.address() : gatheredX.get(count);
    long to = isYDirect ? y.address() : gatheredY.get(count);
    if (!isXDirect) {
      arrays.gather(x, from, DType.FLOAT32);
    }
    if (!isYDirect) {
      arrays.gather(y, to, DType.FLOAT32);
    }
    blas.addScaled(alpha, from, to, count);
    if (!isYDirect) {
      arrays.scatter(to, DType.FLOAT32, y);
    }
  }

  /** Sums that are kept in FLOAT64, losses above all, keep its digits. They are short. */
  private void addWide(double alpha, Tensor x, Tensor y) {
    int count = Math.toIntExact(x.elementCount());
    long bytes = DType.FLOAT64.bytes(count);
    double[] addends = new double[count];
    double[] sums = new double[count];
    HostBlock block = HostMemory.allocate(bytes);
    try {
      DoublePointer wide = new DoublePointer(new HostAddress(block.address()));
      arrays.gather(x, block.address(), DType.FLOAT64);
      wide.get(addends, 0, count);
      arrays.gather(y, block.address(), DType.FLOAT64);
      wide.get(sums, 0, count);
      for (int i = 0; i < count; i++) {
        sums[i] += alpha * addends[i];
      }
      wide.put(sums, 0, count);
      arrays.scatter(block.address(), DType.FLOAT64, y);
    } finally {
      block.free();
    }
  }

  private static boolean isDirect(Tensor tensor) {
    return tensor.dtype() == DType.FLOAT32 && tensor.isContiguous();
  }

  void scale(Tensor x, double alpha) {
    Arguments.floating("scale", x);
    Floats.address("scale", x);
    arrays.scale(x, alpha);
  }

  void multiply(Tensor a, Tensor b, Tensor out) {
    Arguments.alike("multiply", a, b, out);
    Floats.address("multiply", a);
    HostTensors.open(b);
    HostTensors.open(out);
    arrays.multiply(a, b, out);
  }

  @Override
  public void close() {
    gatheredX.close();
    gatheredY.close();
  }
}
