package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.HostAddress;
import dev.phalanx.engine.host.HostBlock;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.cpu.nativecpu.bindings.Nd4jCpu;
import org.nd4j.nativeblas.OpaqueConstantShapeBuffer;
import org.nd4j.nativeblas.OpaqueDataBuffer;

/**
 * ND4J's native operations on tensors of ours, with any types and strides.
 *
 * <p>The layer below ND4J's Java arrays: those leave 300 to 800 bytes of native memory behind with
 * each operation and each view, which only the garbage collector gives back, and take 5 to 40
 * microseconds a call. Here one object of each kind is moved from call to call, nothing is
 * allocated, and a call takes a fifth of a microsecond.
 */
final class NativeArrays implements AutoCloseable {
  private static final int COPY = 0; // of the transforms between types
  private static final int ADD = 0; // of the operations on pairs
  private static final int MULTIPLY = 3;
  private static final int SCALE = 2; // of those with one number
  private static final int SET = 14;

  /** Rank, sizes, strides, type, distance of elements, order: of at most so many dimensions. */
  private static final int MOST_DIMENSIONS = 8;

  private final Nd4jCpu operations;
  private final Operand first;
  private final Operand second;
  private final Operand result;
  private final Operand number;
  private final HostBlock numbers = HostMemory.allocate(2 * Double.BYTES);
  private boolean closed;

  NativeArrays(Nd4jCpu operations) {
    this.operations = operations;
    this.first = new Operand(operations, numbers.address());
    this.second = new Operand(operations, numbers.address());
    this.result = new Operand(operations, numbers.address());
    this.number = new Operand(operations, numbers.address());
  }

  /** An address that ND4J takes, moved. */
  private static final class Place extends Pointer {
    Place at(long newAddress) {
      this.address = newAddress;
      return this;
    }
  }

  /** One array of a call: where it lies and how. */
  private static final class Operand implements AutoCloseable {
    private final Nd4jCpu operations;
    private final Place place = new Place();
    private final OpaqueDataBuffer[] buffers = new OpaqueDataBuffer[DType.values().length];
    private final long[] typeFlags = new long[DType.values().length];
    private final LongPointer shape = new LongPointer(2 * MOST_DIMENSIONS + 4);
    private final long[] numbers = new long[2 * MOST_DIMENSIONS + 4];
    private OpaqueDataBuffer buffer;

    Operand(Nd4jCpu operations, long anywhere) {
      this.operations = operations;
      for (DType dtype : DType.values()) {
        buffers[dtype.ordinal()] =
            operations.dbCreateExternalDataBuffer(
                1, dataType(dtype).toInt(), place.at(anywhere), null);
        typeFlags[dtype.ordinal()] = typeFlags(dtype);
      }
      this.buffer = buffers[0];
    }

    /** How ND4J marks a type: as it does in the description of an array of one element. */
    private long typeFlags(DType dtype) {
      long[] one = {1};
      OpaqueConstantShapeBuffer kept =
          operations.shapeBuffer(1, one, one, dataType(dtype).toInt(), 'c', 1, false);
      Pointer description = operations.getConstantShapeBufferPrimary(kept);
      long flags = new LongPointer(description).get(3); // behind rank, size and stride
      operations.deleteConstantShapeBuffer(kept);
      return flags;
    }

    void set(Tensor tensor) {
      set(tensor.address(), tensor.dtype(), tensor.shape().toArray(), tensor.strides());
    }

    void set(long address, DType dtype, long[] sizes, long[] strides) {
      int rank = sizes.length;
      if (rank > MOST_DIMENSIONS) {
        throw new IllegalArgumentException(
            "The engine 'nd4j' takes tensors of at most "
                + MOST_DIMENSIONS
                + " dimensions, not of "
                + rank);
      }
      long reach = 1;
      boolean isContiguous = true;
      long expected = 1;
      for (int i = rank - 1; i >= 0; i--) {
        isContiguous &= sizes[i] == 1 || strides[i] == expected;
        expected *= sizes[i];
        reach += (sizes[i] - 1) * strides[i];
      }
      numbers[0] = rank;
      System.arraycopy(sizes, 0, numbers, 1, rank);
      System.arraycopy(strides, 0, numbers, 1 + rank, rank);
      numbers[2 * rank + 1] = typeFlags[dtype.ordinal()];
      numbers[2 * rank + 2] = isContiguous ? 1 : 0;
      numbers[2 * rank + 3] = 'c';
      shape.put(numbers, 0, 2 * rank + 4);
      buffer = buffers[dtype.ordinal()];
      operations.dbSetPrimaryBuffer(buffer, place.at(address), reach);
    }

    @Override
    public void close() {
      for (OpaqueDataBuffer each : buffers) {
        operations.deleteDataBuffer(each);
      }
      shape.deallocate();
    }
  }

  private static DataType dataType(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> DataType.FLOAT;
      case BFLOAT16 -> DataType.BFLOAT16;
      case FLOAT16 -> DataType.HALF;
      case FLOAT64 -> DataType.DOUBLE;
      case INT32 -> DataType.INT;
      case INT64 -> DataType.LONG;
      case UINT8 -> DataType.UBYTE;
    };
  }

  /** Copies all elements, converting them to the nearest of the other type. */
  void copy(Tensor source, Tensor destination) {
    if (source.elementCount() == 0) {
      return;
    }
    first.set(source);
    result.set(destination);
    transform(first, result);
  }

  /** Copies {@code count} elements of a contiguous tensor from {@code start} to an address. */
  void copy(Tensor source, long start, long count, long address, DType dtype) {
    long[] sizes = {count};
    long[] strides = {1};
    first.set(source.address() + source.dtype().bytes(start), source.dtype(), sizes, strides);
    result.set(address, dtype, sizes, strides);
    transform(first, result);
  }

  /** A tensor as a contiguous one of another type at an address. */
  void gather(Tensor source, long address, DType dtype) {
    first.set(source);
    result.set(address, dtype, source.shape().toArray(), source.shape().contiguousStrides());
    transform(first, result);
  }

  /** The inverse of {@link #gather}. */
  void scatter(long address, DType dtype, Tensor destination) {
    first.set(
        address, dtype, destination.shape().toArray(), destination.shape().contiguousStrides());
    result.set(destination);
    transform(first, result);
  }

  private void transform(Operand from, Operand to) {
    requireOpen();
    operations.execTransformAny(
        null, COPY, from.buffer, from.shape, null, to.buffer, to.shape, null, null);
    check("copy");
  }

  void fill(Tensor tensor, double value) {
    scalar(SET, "fill", tensor, value);
  }

  void scale(Tensor tensor, double factor) {
    scalar(SCALE, "scale", tensor, factor);
  }

  private void scalar(int operation, String kernel, Tensor tensor, double value) {
    if (tensor.elementCount() == 0) {
      return;
    }
    requireOpen();
    long[] none = {};
    long wide = numbers.address();
    long own = wide + Double.BYTES;
    new DoublePointer(new HostAddress(wide)).put(value);
    first.set(wide, DType.FLOAT64, none, none);
    number.set(own, tensor.dtype(), none, none);
    transform(first, number);
    result.set(tensor);
    operations.execScalar(
        null,
        operation,
        result.buffer,
        result.shape,
        null,
        result.buffer,
        result.shape,
        null,
        number.buffer,
        number.shape,
        null,
        null);
    check(kernel);
  }

  /** {@code out = a + b}, element by element, of one shape. */
  void add(Tensor a, Tensor b, Tensor out) {
    pairwise(ADD, "add", a, b, out);
  }

  /** {@code out = a * b}, element by element, of one shape. */
  void multiply(Tensor a, Tensor b, Tensor out) {
    pairwise(MULTIPLY, "multiply", a, b, out);
  }

  private void pairwise(int operation, String kernel, Tensor a, Tensor b, Tensor out) {
    if (out.elementCount() == 0) {
      return;
    }
    requireOpen();
    first.set(a);
    second.set(b);
    result.set(out);
    operations.execPairwiseTransform(
        null,
        operation,
        first.buffer,
        first.shape,
        null,
        second.buffer,
        second.shape,
        null,
        result.buffer,
        result.shape,
        null,
        null);
    check(kernel);
  }

  private void check(String kernel) {
    if (operations.lastErrorCode() != 0) {
      throw new IllegalStateException(
          "ND4J's operation for " + kernel + " failed: " + operations.lastErrorMessage());
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("The engine 'nd4j' was used after it was closed");
    }
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      List.of(first, second, result, number).forEach(Operand::close);
      numbers.free();
    }
  }
}
