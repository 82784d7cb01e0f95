package dev.phalanx.sharding.compression;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Sums first moments instead of gradients once the warm-up is over (Tang et al., 2021, "1-bit Adam:
 * Communication Efficient Large-Scale Training with Adam's Convergence Speed", algorithm 1). First
 * moments change less from step to step than gradients, and Adam's division by a variance that no
 * longer changes keeps error feedback exact: errors add up linearly.
 *
 * <p>Of n ranks with gradients g:
 *
 * <pre>
 *   warm-up      sum = all-reduced g               M = momentum M + (1 - momentum) sum   gives sum
 *   afterwards   g = momentum M / n + (1 - momentum) g     M = sum of g, compressed       gives M
 * </pre>
 *
 * <p>M is the same on every rank. The optimizer takes what it is given as its first moments: see
 * {@link dev.phalanx.tensor.AdamW#varianceSteps}.
 */
final class SummedFirstMoments implements CompressedReduction {
  private final Engine engine;
  private final int ranks;
  private final Compression.OneBit settings;
  private final CompressedReduction reduction;
  private final Tensor moments; // [elements] FLOAT32
  private boolean isCompressed;
  private @Nullable Tensor gradients; // between start and finish

  SummedFirstMoments(
      Arena arena,
      int ranks,
      long elementCount,
      Compression.OneBit settings,
      CompressedReduction reduction) {
    this.engine = arena.engine();
    this.ranks = ranks;
    this.settings = settings;
    this.reduction = reduction;
    this.moments = arena.zeros(DType.FLOAT32, elementCount);
  }

  @Override
  public void start(Tensor bucket, long step) {
    isCompressed = settings.isCompressedAt(step);
    if (isCompressed) {
      engine.scale(bucket, 1 - settings.momentum());
      engine.addScaled(settings.momentum() / ranks, moments, bucket);
    }
    gradients = bucket;
    reduction.start(bucket, step);
  }

  @Override
  public void proceed() throws InterruptedException {
    reduction.proceed();
  }

  @Override
  public void finish() throws InterruptedException {
    reduction.finish();
    Tensor sum = gradients;
    if (sum == null) {
      throw new IllegalStateException("A step was finished that was not started");
    }
    gradients = null;
    if (isCompressed) {
      engine.copy(sum, moments);
    } else {
      engine.scale(moments, settings.momentum());
      engine.addScaled(1 - settings.momentum(), sum, moments);
    }
    engine.synchronize(Device.CPU);
  }

  @Override
  public Map<String, Tensor> state() {
    return reduction.state();
  }

  @Override
  public Map<String, Tensor> commonState() {
    Map<String, Tensor> state = new LinkedHashMap<>(reduction.commonState());
    state.put("first_moments", moments);
    return state;
  }

  @Override
  public CompressionStatistics statistics() {
    return reduction.statistics();
  }
}
