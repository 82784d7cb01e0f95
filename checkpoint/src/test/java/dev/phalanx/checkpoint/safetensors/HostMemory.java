package dev.phalanx.checkpoint.safetensors;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Random;

/** An engine and an arena on the host, which owns the tensors of one test. */
public final class HostMemory implements AutoCloseable {
  private final Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
  private final Arena arena = new Arena(engine, Device.CPU);

  public Engine engine() {
    return engine;
  }

  public Arena arena() {
    return arena;
  }

  /** A tensor whose bytes follow from the seed; as numbers they mean nothing. */
  public Tensor random(long seed, DType dtype, long... sizes) {
    Tensor tensor = arena.allocate(dtype, sizes);
    setRandom(tensor, seed);
    return tensor;
  }

  /** Gives a contiguous tensor other bytes. */
  public static void setRandom(Tensor tensor, long seed) {
    byte[] bytes = new byte[Math.toIntExact(tensor.byteSize())];
    new Random(seed).nextBytes(bytes);
    buffer(tensor).put(bytes);
  }

  /** Whole numbers from -500 to 499, over and over. */
  public Tensor counting(long... sizes) {
    Tensor tensor = arena.allocate(DType.FLOAT32, sizes);
    ByteBuffer bytes = buffer(tensor);
    for (int i = 0; bytes.hasRemaining(); i++) {
      bytes.putFloat(i % 1000 - 500);
    }
    return tensor;
  }

  /** A tensor for a read to fill; what it holds before is not what any test expects. */
  public Tensor blank(DType dtype, Shape shape) {
    Tensor tensor = arena.allocate(dtype, shape);
    setRandom(tensor, -1);
    return tensor;
  }

  /** The bytes of a contiguous tensor. */
  public static byte[] bytes(Tensor tensor) {
    byte[] bytes = new byte[Math.toIntExact(tensor.byteSize())];
    buffer(tensor).get(bytes);
    return bytes;
  }

  /** The elements of a contiguous FLOAT32 tensor. */
  public static float[] floats(Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.elementCount())];
    buffer(tensor).asFloatBuffer().get(values);
    return values;
  }

  private static ByteBuffer buffer(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize()));
  }

  @Override
  public void close() {
    arena.close();
    engine.close();
  }
}
