package dev.phalanx.sharding;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.nio.ByteBuffer;

/** Writes initial values, any run of a parameter without the rest of it. */
public final class ParameterFilling {
  private static final long CHUNK = 1 << 20;

  private ParameterFilling() {}

  /**
   * @param first the number of the run's first element within the parameter
   * @param destination [n] FLOAT32 on any device
   */
  public static void fill(
      Engine engine, Parameter parameter, long seed, long first, Tensor destination) {
    long count = destination.elementCount();
    long chunk = Math.min(count, CHUNK);
    try (Arena staging = new Arena(engine, Device.CPU)) {
      Tensor buffer = staging.allocate(DType.FLOAT32, Shape.of(chunk));
      for (long start = 0; start < count; start += chunk) {
        int length = (int) Math.min(chunk, count - start);
        ByteBuffer bytes = buffer.byteBuffer(0, Math.multiplyExact(length, Float.BYTES));
        for (int i = 0; i < length; i++) {
          bytes.putFloat(i * Float.BYTES, (float) parameter.initialValue(seed, first + start + i));
        }
        try (Tensor part = destination.slice(0, start, length)) {
          engine.copy(buffer.slice(0, 0, length), part);
          engine.synchronize(destination.device());
        }
      }
    }
  }
}
