package dev.phalanx.collectives;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.IntToDoubleFunction;

/** Tensors in direct buffers, so that these tests need no engine. */
public final class HostTensors {
  /** Where tensors come from. */
  interface Memory {
    Memory PRIVATE =
        (dtype, count) ->
            Tensor.over(
                new DirectStorage(ByteBuffer.allocateDirect(Math.max(1, count * dtype.byteSize()))),
                0,
                dtype,
                Shape.of(count));

    Tensor allocate(DType dtype, int count);
  }

  private HostTensors() {}

  public static Tensor of(DType dtype, int count, IntToDoubleFunction value) {
    return of(Memory.PRIVATE, dtype, count, value);
  }

  static Tensor of(Memory memory, DType dtype, int count, IntToDoubleFunction value) {
    Tensor tensor = memory.allocate(dtype, count);
    ByteBuffer bytes = bytes(tensor);
    for (int i = 0; i < count; i++) {
      put(bytes, dtype, i, value.applyAsDouble(i));
    }
    return tensor;
  }

  /** All of a tensor's bytes, without a copy. */
  static ByteBuffer bytes(Tensor tensor) {
    return tensor.byteBuffer(0, (int) tensor.byteSize());
  }

  private static void put(ByteBuffer bytes, DType dtype, int index, double value) {
    switch (dtype) {
      case FLOAT32 -> bytes.putFloat(4 * index, (float) value);
      case FLOAT64 -> bytes.putDouble(8 * index, value);
      case INT32 -> bytes.putInt(4 * index, (int) value);
      case INT64 -> bytes.putLong(8 * index, (long) value);
      case BFLOAT16 ->
          bytes.putShort(2 * index, (short) (Float.floatToRawIntBits((float) value) >>> 16));
      case FLOAT16 -> bytes.putShort(2 * index, float16((float) value));
      case UINT8 -> bytes.put(index, (byte) (int) value);
    }
  }

  /** The bits of a number that FLOAT16 has, 0 or from 2^-14 on. */
  private static short float16(float value) {
    int bits = Float.floatToRawIntBits(value);
    int magnitude = value == 0 ? 0 : ((bits & 0x7fffffff) >>> 13) - (112 << 10);
    return (short) ((bits >>> 16) & 0x8000 | magnitude);
  }

  private static float float32(short half) {
    int magnitude = half & 0x7fff;
    int bits = magnitude == 0 ? 0 : (magnitude + (112 << 10)) << 13;
    return Float.intBitsToFloat((half & 0x8000) << 16 | bits);
  }

  public static double[] values(Tensor tensor) {
    ByteBuffer bytes = bytes(tensor);
    double[] values = new double[(int) tensor.elementCount()];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (tensor.dtype()) {
            case FLOAT32 -> bytes.getFloat(4 * i);
            case FLOAT64 -> bytes.getDouble(8 * i);
            case INT32 -> bytes.getInt(4 * i);
            case INT64 -> bytes.getLong(8 * i);
            case BFLOAT16 -> Float.intBitsToFloat(bytes.getShort(2 * i) << 16);
            case FLOAT16 -> float32(bytes.getShort(2 * i));
            case UINT8 -> bytes.get(i) & 0xff;
          };
    }
    return values;
  }

  /** A block over a direct buffer. */
  static Storage storage(ByteBuffer direct) {
    return new DirectStorage(direct);
  }

  private record DirectStorage(ByteBuffer buffer) implements Storage {
    @Override
    public Device device() {
      return Device.CPU;
    }

    @Override
    public long byteSize() {
      return buffer.capacity();
    }

    @Override
    public long address() {
      return System.identityHashCode(buffer) * 1_000_000_000L; // only compared, never followed
    }

    @Override
    public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
      return buffer.slice((int) byteOffset, byteCount).order(ByteOrder.nativeOrder());
    }

    @Override
    public void free() {}
  }
}
