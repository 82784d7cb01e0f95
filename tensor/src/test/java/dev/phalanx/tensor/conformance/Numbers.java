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
        case FLOAT16 -> bytes.putShort(float16Bits(value));
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
            case FLOAT16 -> float16(bytes.getShort());
          };
    }
    return values;
  }

  /** The nearest number of a type; of two equally near the one whose last bit is 0. */
  static double rounded(DType dtype, double value) {
    return switch (dtype) {
      case FLOAT32 -> (float) value;
      case BFLOAT16 -> Float.intBitsToFloat(bfloat16Bits((float) value) << 16);
      case FLOAT16 -> float16(float16Bits(value));
      default -> value;
    };
  }

  /** Ten bits of mantissa; below 2^-14 steps of 2^-24. */
  private static short float16Bits(double value) {
    int sign = Double.doubleToRawLongBits(value) < 0 ? 0x8000 : 0;
    if (Double.isNaN(value)) {
      return 0x7e00;
    }
    int exponent = Math.max(-14, Math.getExponent(value));
    long steps = (long) Math.rint(Math.scalb(Math.abs(value), 10 - exponent)); // half to even
    long bits = exponent > 15 ? 0x7c00 : steps + ((exponent + 14L) << 10);
    return (short) (sign | Math.min(bits, 0x7c00));
  }

  private static double float16(short bits) {
    int exponent = bits >> 10 & 0x1f;
    int mantissa = bits & 0x3ff;
    double magnitude =
        exponent == 0x1f
            ? (mantissa == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
            : Math.scalb(
                (double) (exponent == 0 ? mantissa : mantissa + 0x400), Math.max(1, exponent) - 25);
    return bits < 0 ? -magnitude : magnitude;
  }

  private static short bfloat16Bits(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) 0x7fc0;
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
}
