package dev.phalanx.deeplearning4j;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Function;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.buffer.DataBuffer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Host memory that ND4J's arrays and tensors have in common: an array seen as a tensor, and a
 * buffer under an array. Nothing is copied, and nothing is freed here.
 *
 * @param address of the buffer's first byte
 */
record NativeMemory(ByteBuffer buffer, long address) implements Storage {
  /** A buffer reaches so many bytes. */
  private static final long MOST_BYTES = Integer.MAX_VALUE;

  /** The block of a direct buffer. */
  static NativeMemory of(ByteBuffer direct) {
    try (Pointer pointer = new Pointer(direct)) { // closing it frees nothing of the buffer's
      return new NativeMemory(direct, pointer.address());
    }
  }

  /**
   * An array's elements as a tensor [n]; the array keeps the memory alive.
   *
   * @param array without gaps
   * @param wrap {@code Engine::wrap} where kernels read the tensor
   * @throws IllegalArgumentException where the array is larger than a buffer can reach, or of a
   *     type that ranks cannot add up
   */
  static Tensor tensor(INDArray array, Function<ByteBuffer, Storage> wrap) {
    DType dtype = dtype(array.dataType());
    long first = dtype.bytes(array.offset());
    long bytes = dtype.bytes(array.length());
    if (first + bytes > MOST_BYTES) {
      throw new IllegalArgumentException(
          "A network of "
              + array.length()
              + " parameters of "
              + array.dataType()
              + " takes "
              + bytes
              + " bytes, and its ranks can reduce at most "
              + MOST_BYTES
              + ". Use a smaller network or a narrower data type.");
    }
    ByteBuffer memory = array.data().asNio().order(ByteOrder.nativeOrder());
    ByteBuffer elements = memory.slice((int) first, (int) bytes).order(ByteOrder.nativeOrder());
    return Tensor.over(wrap.apply(elements), 0, dtype, Shape.of(array.length()));
  }

  /**
   * Numbers that ranks tell each other, in memory of their own.
   *
   * @return [n] FLOAT64
   */
  static Tensor numbers(int count) {
    ByteBuffer buffer =
        ByteBuffer.allocateDirect(count * Double.BYTES).order(ByteOrder.nativeOrder());
    return Tensor.over(of(buffer), 0, DType.FLOAT64, Shape.of(count));
  }

  /**
   * Memory of its own for floats.
   *
   * @return [n] FLOAT32
   */
  static Tensor floats(long count) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(Math.toIntExact(DType.FLOAT32.bytes(count)));
    return Tensor.over(of(buffer), 0, DType.FLOAT32, Shape.of(count));
  }

  /**
   * Memory of its own for bytes.
   *
   * @return [n] UINT8
   */
  static Tensor bytes(long count) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(Math.toIntExact(count));
    return Tensor.over(of(buffer), 0, DType.UINT8, Shape.of(count));
  }

  /** Copies a tensor of at most 2 GiB in host memory. */
  static void copy(Tensor from, Tensor into) {
    int bytes = Math.toIntExact(from.byteSize());
    into.byteBuffer(0, bytes).put(from.byteBuffer(0, bytes));
  }

  /**
   * ND4J's buffer over a direct one; who uses it keeps the direct one alive.
   *
   * @param count of floats
   */
  static DataBuffer floats(ByteBuffer direct, long count) {
    return Nd4j.createBuffer(new FloatPointer(new Pointer(direct)), count, DataType.FLOAT);
  }

  private static DType dtype(DataType type) {
    return switch (type) {
      case FLOAT -> DType.FLOAT32;
      case DOUBLE -> DType.FLOAT64;
      case HALF -> DType.FLOAT16;
      case BFLOAT16 -> DType.BFLOAT16;
      default ->
          throw new IllegalArgumentException(
              "Parameters of type " + type + " cannot be trained on several ranks. Use FLOAT.");
    };
  }

  @Override
  public Device device() {
    return Device.CPU;
  }

  @Override
  public long byteSize() {
    return buffer.capacity();
  }

  @Override
  public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
    return buffer.slice(Math.toIntExact(byteOffset), byteCount).order(ByteOrder.nativeOrder());
  }

  @Override
  public void free() {
    // it belongs to the array or to the communicator
  }
}
