package dev.phalanx.tensor;

import java.nio.ByteBuffer;

/** Arrays of the Java heap to tensors and back, for what the host decides. */
public final class HostArrays {
  private HostArrays() {}

  /** A new tensor [n] INT64 of these numbers, on the arena's device. */
  public static Tensor upload(Arena arena, long[] values) {
    Tensor tensor = arena.allocate(DType.INT64, Shape.of(values.length));
    fill(arena.engine(), tensor, DType.INT64, buffer -> buffer.asLongBuffer().put(values));
    return tensor;
  }

  /**
   * Sets every element, rounded to the tensor's type.
   *
   * @param values as many as there are elements, row by row
   */
  public static void set(Engine engine, Tensor tensor, float[] values) {
    fill(engine, tensor, DType.FLOAT32, buffer -> buffer.asFloatBuffer().put(values));
  }

  /** All elements of a floating-point tensor, row by row, once what computes them is done. */
  public static float[] download(Engine engine, Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.elementCount())];
    engine.synchronize(tensor.device());
    if (isReadable(tensor, DType.FLOAT32)) {
      bytes(tensor).asFloatBuffer().get(values);
      return values;
    }
    try (Arena host = new Arena(engine, Device.CPU)) {
      Tensor copy = host.allocate(DType.FLOAT32, tensor.shape());
      engine.copy(tensor, copy);
      engine.synchronize(tensor.device());
      bytes(copy).asFloatBuffer().get(values);
    }
    return values;
  }

  /** All elements of an INT64 tensor on the CPU. */
  public static long[] downloadLongs(Tensor tensor) {
    long[] values = new long[Math.toIntExact(tensor.elementCount())];
    bytes(tensor).asLongBuffer().get(values);
    return values;
  }

  private interface Filling {
    void fill(ByteBuffer buffer);
  }

  private static void fill(Engine engine, Tensor tensor, DType dtype, Filling filling) {
    if (isReadable(tensor, dtype)) {
      engine.synchronize(tensor.device()); // whoever had this memory before may still read it
      filling.fill(bytes(tensor));
      return;
    }
    try (Arena host = new Arena(engine, Device.CPU)) {
      Tensor staged = host.allocate(dtype, tensor.shape());
      filling.fill(bytes(staged));
      engine.copy(staged, tensor);
      engine.synchronize(tensor.device());
    }
  }

  private static boolean isReadable(Tensor tensor, DType dtype) {
    return tensor.device().isCpu() && tensor.dtype() == dtype && tensor.isContiguous();
  }

  private static ByteBuffer bytes(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize()));
  }
}
