package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;

/** Rotary position embedding, computed in FLOAT32 on positions that stay in cache. */
final class RotaryEmbedding {
  private static final long CHUNK_ELEMENTS = 64 * 1024;

  private final TorchContext context;
  private final Scratch first;
  private final Scratch second;

  RotaryEmbedding(TorchContext context) {
    this.context = context;
    this.first = context.scratch();
    this.second = context.scratch();
  }

  void rotate(Tensor x, Tensor cosine, Tensor sine, boolean inverse, Tensor out) {
    EngineContract.rotary(x, cosine, sine, out);
    if (x.elementCount() == 0) {
      return;
    }
    long half = x.size(3) / 2;
    long chunk = Math.max(1, CHUNK_ELEMENTS / (x.size(2) * half));
    for (long batch = 0; batch < x.size(0); batch++) {
      for (long start = 0; start < x.size(1); start += chunk) {
        long count = Math.min(chunk, x.size(1) - start);
        // [t, h, d / 2]
        try (var xBatch = context.of(x).select(0, batch);
            var xPositions = xBatch.narrow(0, start, count);
            var u = xPositions.narrow(2, 0, half);
            var w = xPositions.narrow(2, half, half);
            var outBatch = context.of(out).select(0, batch);
            var outPositions = outBatch.narrow(0, start, count);
            var outU = outPositions.narrow(2, 0, half);
            var outW = outPositions.narrow(2, half, half);
            var cosineRows = context.of(cosine).narrow(0, start, count);
            var sineRows = context.of(sine).narrow(0, start, count);
            var cos = cosineRows.unsqueeze(1);
            var sin = sineRows.unsqueeze(1)) {
          var turnedU = first.get(DType.FLOAT32, count, x.size(2), half);
          var turnedW = second.get(DType.FLOAT32, count, x.size(2), half);
          torch.mul_out(turnedU, u, cos);
          turnedU.addcmul_(w, sin, context.scalar(inverse ? 1 : -1));
          torch.mul_out(turnedW, w, cos);
          turnedW.addcmul_(u, sin, context.scalar(inverse ? -1 : 1));
          outU.copy_(turnedU);
          outW.copy_(turnedW);
        }
      }
    }
  }
}
