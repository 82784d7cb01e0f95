package dev.phalanx.trainer;

import dev.phalanx.sharding.compression.Compression;
import dev.phalanx.trainer.config.JobConfig;
import java.util.Optional;

/** From the plan's {@code communication.compression} to a codec. */
public final class GradientCompression {
  private GradientCompression() {}

  /** Empty where gradients are sent as they are. */
  public static Optional<Compression> of(
      JobConfig.Compression plan, JobConfig.Optimizer.Rule optimizer) {
    if (plan instanceof JobConfig.Compression.Fp16) {
      return Optional.of(new Compression.Float16());
    } else if (plan instanceof JobConfig.Compression.Bf16) {
      return Optional.of(new Compression.Bfloat16());
    } else if (plan instanceof JobConfig.Compression.Int8 int8) {
      return Optional.of(new Compression.Int8(int8.block()));
    } else if (plan instanceof JobConfig.Compression.TopK topK) {
      return Optional.of(new Compression.TopK(topK.density(), topK.warmupSteps(), topK.momentum()));
    } else if (plan instanceof JobConfig.Compression.Threshold threshold) {
      return Optional.of(
          new Compression.Threshold(
              threshold.threshold(), threshold.minimumDensity(), threshold.maximumDensity()));
    } else if (plan instanceof JobConfig.Compression.OneBit oneBit) {
      double momentum = optimizer instanceof JobConfig.Optimizer.AdamW adamW ? adamW.beta1() : 0;
      return Optional.of(new Compression.OneBit(oneBit.warmupSteps(), momentum));
    } else if (plan instanceof JobConfig.Compression.PowerSgd powerSgd) {
      return Optional.of(new Compression.PowerSgd(powerSgd.rank(), powerSgd.warmupSteps()));
    }
    return Optional.empty();
  }

  /** After how many steps AdamW's second moments stay as they are. */
  static long varianceSteps(Optional<Compression> compression) {
    return compression.isPresent() && compression.get() instanceof Compression.OneBit oneBit
        ? oneBit.warmupSteps()
        : Long.MAX_VALUE;
  }
}
