package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;

/** Numbers of FLOAT32 or BFLOAT16 in native memory. */
record NativeNumbers(DType type, BytePointer memory, ByteBuffer bytes) implements AutoCloseable {
  static NativeNumbers of(DType type, long count) {
    BytePointer memory = new BytePointer(type.bytes(count));
    return new NativeNumbers(type, memory, memory.asByteBuffer().order(ByteOrder.nativeOrder()));
  }

  long address() {
    return memory.address();
  }

  /** Cut off, not rounded, where the type is narrower. */
  void put(long place, float value) {
    if (type == DType.FLOAT32) {
      bytes.putFloat(Math.toIntExact(4 * place), value);
    } else {
      bytes.putShort(Math.toIntExact(2 * place), (short) (Float.floatToRawIntBits(value) >>> 16));
    }
  }

  float get(long place) {
    return type == DType.FLOAT32
        ? bytes.getFloat(Math.toIntExact(4 * place))
        : Float.intBitsToFloat(bytes.getShort(Math.toIntExact(2 * place)) << 16);
  }

  @Override
  public void close() {
    memory.close();
  }
}
