package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;

/** Rotary position embedding: all heads of one position at a time. */
final class RotaryEmbedding implements AutoCloseable {
  private final NativeArrays arrays;
  private final FloatPiece heads = new FloatPiece();
  private final FloatPiece cosines = new FloatPiece();
  private final FloatPiece sines = new FloatPiece();
  private final FloatScratch gathered = new FloatScratch();

  RotaryEmbedding(NativeArrays arrays) {
    this.arrays = arrays;
  }

  void rotate(Tensor x, Tensor cosine, Tensor sine, boolean inverse, Tensor out) {
    EngineContract.rotary(x, cosine, sine, out);
    Floats.address("rotary", x);
    Floats.address("rotary", out);
    if (x.elementCount() == 0) {
      return;
    }
    boolean isXDense = hasDenseHeads(x);
    boolean isOutDense = hasDenseHeads(out);
    long[] packed = x.shape().contiguousStrides();
    long scratch = isXDense && isOutDense ? 0 : gathered.get(x.elementCount());
    if (!isXDense) {
      arrays.gather(x, scratch, DType.FLOAT32);
    }
    turn(
        x,
        isXDense ? x.address() : scratch,
        isXDense ? x.strides() : packed,
        Floats.address("rotary", cosine),
        Floats.address("rotary", sine),
        inverse,
        isOutDense ? out.address() : scratch,
        isOutDense ? out.strides() : packed);
    if (!isOutDense) {
      arrays.scatter(scratch, DType.FLOAT32, out);
    }
  }

  private static boolean hasDenseHeads(Tensor tensor) {
    return tensor.stride(3) == 1;
  }

  private void turn(
      Tensor x,
      long from,
      long[] fromStrides,
      long cosine,
      long sine,
      boolean inverse,
      long to,
      long[] toStrides) {
    int count = Math.toIntExact(x.size(2));
    int width = Math.toIntExact(x.size(3));
    int half = width / 2;
    for (long position = 0; position < x.size(1); position++) {
      float[] cos = cosines.read(Floats.at(cosine, position * half), half);
      float[] sin = sines.read(Floats.at(sine, position * half), half);
      if (inverse) {
        FloatRows.scale(sin, 0, half, -1);
      }
      for (long batch = 0; batch < x.size(0); batch++) {
        float[] values =
            heads.readRows(
                Floats.at(from, batch * fromStrides[0] + position * fromStrides[1]),
                count,
                width,
                fromStrides[2]);
        for (int head = 0; head < count; head++) {
          turn(values, head * width, half, cos, sin);
        }
        heads.writeRows(
            Floats.at(to, batch * toStrides[0] + position * toStrides[1]),
            count,
            width,
            toStrides[2]);
      }
    }
  }

  private static void turn(float[] values, int start, int half, float[] cos, float[] sin) {
    for (int i = 0; i < half; i++) {
      float u = values[start + i];
      float w = values[start + half + i];
      values[start + i] = u * cos[i] - w * sin[i];
      values[start + half + i] = w * cos[i] + u * sin[i];
    }
  }

  @Override
  public void close() {
    gathered.close();
  }
}
