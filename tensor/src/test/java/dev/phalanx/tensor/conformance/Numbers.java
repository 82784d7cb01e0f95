package dev.phalanx.tensor.conformance;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Elements of contiguous tensors on any device as {@code double}s, and the rounding of types.
 *
 * <p>Tests run on the engine's accelerator where it has one, else on the CPU.
 */
final class Numbers {
  private Numbers() {}

  static Device deviceOf(Engine engine) {
    Device accelerator = new Device(Device.Kind.CUDA, 0);
    return engine.supports(accelerator) ? accelerator : Device.CPU;
  }

  static void write(Engine engine, Tensor tensor, double[] values) {
    try (Arena host = new Arena(engine, Device.CPU)) {
      Tensor staged = host.allocate(tensor.dtype(), tensor.shape());
      write(staged, values);
      engine.copy(staged, tensor);
      engine.synchronize(tensor.device());
    }
  }

  static double[] read(Engine engine, Tensor tensor) {
    try (Arena host = new Arena(engine, Device.CPU)) {
      Tensor staged = host.allocate(tensor.dtype(), tensor.shape());
      engine.copy(tensor, staged);
      engine.synchronize(tensor.device());
      return read(staged);
    }
  }

  private static void write(Tensor tensor, double[] values) {
    if (values.length != tensor.elementCount()) {
      throw new IllegalArgumentException(values.length + " numbers for the " + tensor);
    }
    ByteBuffer bytes = tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize()));
    for (double value : values) {
      switch (tensor.dtype()) {
        case FLOAT32 -> bytes.putFloat((float) value);
        case BFLOAT16 -> bytes.putShort(bfloat16Bits((float) value));
        case FLOAT64 -> bytes.putDouble(value);
        case INT32 -> bytes.putInt((int) value);
        case INT64 -> bytes.putLong((long) value);
        case UINT8 -> bytes.put((byte) value);
        case FLOAT16 -> throw new IllegalArgumentException("FLOAT16 is not written");
      }
    }
  }

  private static double[] read(Tensor tensor) {
    ByteBuffer bytes = tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize()));
    double[] values = new double[Math.toIntExact(tensor.elementCount())];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (tensor.dtype()) {
            case FLOAT32 -> bytes.getFloat();
            case BFLOAT16 -> Float.intBitsToFloat(bytes.getShort() << 16);
            case FLOAT64 -> bytes.getDouble();
            case INT32 -> bytes.getInt();
            case INT64 -> bytes.getLong();
            case UINT8 -> bytes.get() & 0xff;
            case FLOAT16 -> throw new IllegalArgumentException("FLOAT16 is not read");
          };
    }
    return values;
  }

  /** The nearest number of a type; of two equally near the one whose last bit is 0. */
  static double rounded(DType dtype, double value) {
    return switch (dtype) {
      case FLOAT32 -> (float) value;
      case BFLOAT16 -> Float.intBitsToFloat(bfloat16Bits((float) value) << 16);
      default -> value;
    };
  }

  private static short bfloat16Bits(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) 0x7fc0;
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
}
