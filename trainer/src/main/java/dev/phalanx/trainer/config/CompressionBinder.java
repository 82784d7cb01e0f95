package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.Compression;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The section {@code communication.compression}. */
final class CompressionBinder {
  private CompressionBinder() {}

  enum Kind implements Choice {
    NONE,
    FP16,
    BF16,
    INT8,
    TOPK,
    THRESHOLD,
    ONEBIT,
    POWERSGD
  }

  static Compression bind(Section section) {
    Kind kind =
        section.kind(
            "kind",
            Kind.class,
            Optional.of(Kind.NONE),
            Map.of(
                Kind.INT8, List.of("block"),
                Kind.TOPK, List.of("density", "warmup_steps", "momentum"),
                Kind.THRESHOLD, List.of("threshold", "min_density", "max_density"),
                Kind.ONEBIT, List.of("warmup_steps"),
                Kind.POWERSGD, List.of("rank", "warmup_steps")));
    Compression compression =
        switch (kind) {
          case NONE -> new Compression.None();
          case FP16 -> new Compression.Fp16();
          case BF16 -> new Compression.Bf16();
          case INT8 ->
              new Compression.Int8(Math.toIntExact(section.count("block").from(1).orElse(1024L)));
          case TOPK ->
              new Compression.TopK(
                  section.real("density").above(0).below(1).orElse(0.01),
                  section.count("warmup_steps").from(0).orElse(100L),
                  section.real("momentum").from(0).below(1).orElse(0.0));
          case THRESHOLD -> threshold(section);
          case ONEBIT -> new Compression.OneBit(section.count("warmup_steps").from(0).orElse(100L));
          case POWERSGD ->
              new Compression.PowerSgd(
                  Math.toIntExact(section.count("rank").from(1).orElse(4L)),
                  section.count("warmup_steps").from(0).orElse(100L));
        };
    section.end();
    return compression;
  }

  private static Compression threshold(Section section) {
    double threshold = section.real("threshold").from(1e-30).to(1e30).orElse(1e-3);
    Optional<Double> minimum = density(section, "min_density", 1e-4);
    Optional<Double> maximum = density(section, "max_density", 0.01);
    requireBoth(section, "min_density", "max_density", 0.01);
    requireBoth(section, "max_density", "min_density", 1e-4);
    if (minimum.isEmpty() || maximum.isEmpty()) {
      return new Compression.Threshold(threshold, 0, 0);
    }
    if (minimum.get() > maximum.get()) {
      written(section, "max_density")
          .ifPresent(
              node ->
                  section.report(
                      node.position(),
                      "max_density",
                      "expected at least min_density, "
                          + Numbers.text(minimum.get())
                          + ", found "
                          + Numbers.text(maximum.get()),
                      "write the smaller one as min_density; both may be the same"));
    }
    return new Compression.Threshold(threshold, minimum.get(), maximum.get());
  }

  private static Optional<Double> density(Section section, String key, double example) {
    return section.real(key).above(0).below(1).example(example).optional();
  }

  /** A threshold without a range is fixed, and half a range is a mistake. */
  private static void requireBoth(Section section, String key, String other, double example) {
    if (written(section, other).isEmpty()) {
      written(section, key)
          .ifPresent(
              node ->
                  section.report(
                      node.position(),
                      key,
                      "a threshold adapts between min_density and max_density, and "
                          + other
                          + " is left out",
                      "write '"
                          + other
                          + ": "
                          + Numbers.text(example)
                          + "' too, or leave out both for a fixed threshold"));
    }
  }

  private static Optional<PlanNode> written(Section section, String key) {
    return section.find(key).filter(Key::isSomething);
  }

  /** What the plan file calls it. */
  static Kind kindOf(Compression compression) {
    if (compression instanceof Compression.None) {
      return Kind.NONE;
    } else if (compression instanceof Compression.Fp16) {
      return Kind.FP16;
    } else if (compression instanceof Compression.Bf16) {
      return Kind.BF16;
    } else if (compression instanceof Compression.Int8) {
      return Kind.INT8;
    } else if (compression instanceof Compression.TopK) {
      return Kind.TOPK;
    } else if (compression instanceof Compression.Threshold) {
      return Kind.THRESHOLD;
    } else if (compression instanceof Compression.OneBit) {
      return Kind.ONEBIT;
    }
    return Kind.POWERSGD;
  }
}
