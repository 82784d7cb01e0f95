package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Schedule;
import dev.phalanx.trainer.config.JobConfig.ScheduleKind;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.Stream;

/** The section {@code optimizer}. */
final class OptimizerBinder {
  private OptimizerBinder() {}

  enum Kind implements Choice {
    ADAMW,
    SGD,
    LAMB,
    MUON,
    NETWORK
  }

  /** Those of every kind but {@link Kind#NETWORK}. */
  private static final List<String> COMMON_KEYS =
      List.of("lr", "weight_decay", "clip_grad_norm", "schedule");

  /**
   * @param isOfNetwork whether the model brings an optimizer of its own, which is then the default
   */
  static Optimizer bind(Section section, long steps, boolean isOfNetwork) {
    Kind kind =
        section.kind(
            "kind",
            Kind.class,
            Optional.of(isOfNetwork ? Kind.NETWORK : Kind.ADAMW),
            Map.of(
                Kind.ADAMW, keys("betas", "eps"),
                Kind.LAMB, keys("betas", "eps"),
                Kind.SGD, keys("momentum", "nesterov"),
                Kind.MUON, keys("momentum", "nesterov", "ns_steps", "adamw_lr", "betas", "eps")));
    Optimizer optimizer = kind == Kind.NETWORK ? ofNetwork(steps) : bind(section, kind, steps);
    section.end();
    return optimizer;
  }

  private static List<String> keys(String... own) {
    return Stream.concat(COMMON_KEYS.stream(), Stream.of(own)).toList();
  }

  private static Optimizer ofNetwork(long steps) {
    return new Optimizer(
        new Optimizer.OfNetwork(),
        0,
        0,
        OptionalDouble.empty(),
        new Schedule(ScheduleKind.CONSTANT, 0, steps, 0));
  }

  private static Optimizer bind(Section section, Kind kind, long steps) {
    return new Optimizer(
        rule(section, kind),
        section.real("lr").above(0).example(3e-4).required(),
        section.real("weight_decay").from(0).orElse(kind == Kind.SGD ? 0.0 : 0.1),
        section
            .real("clip_grad_norm")
            .above(0)
            .optional()
            .map(OptionalDouble::of)
            .orElse(OptionalDouble.empty()),
        schedule(section.section("schedule"), steps));
  }

  private static Optimizer.Rule rule(Section section, Kind kind) {
    if (kind == Kind.SGD) {
      return new Optimizer.Sgd(
          section.real("momentum").from(0).below(1).orElse(0.0),
          section.flag("nesterov").orElse(false));
    }
    List<Double> betas =
        new ListKey<>(
                section,
                "betas",
                section.real("betas").from(0).below(1),
                2,
                false,
                "a list of two numbers of at least 0 and below 1")
            .orElse(List.of(0.9, 0.95));
    double epsilon = section.real("eps").above(0).orElse(1e-8);
    return switch (kind) {
      case ADAMW -> new Optimizer.AdamW(betas.get(0), betas.get(1), epsilon);
      case LAMB -> new Optimizer.Lamb(betas.get(0), betas.get(1), epsilon);
      case MUON ->
          new Optimizer.Muon(
              section.real("momentum").from(0).below(1).orElse(0.95),
              section.flag("nesterov").orElse(true),
              Math.toIntExact(section.count("ns_steps").from(1).to(100).orElse(5L)),
              section.real("adamw_lr").above(0).orElse(3e-4),
              betas.get(0),
              betas.get(1),
              epsilon);
      case SGD, NETWORK -> throw new IllegalStateException(kind + " has neither betas nor eps");
    };
  }

  private static Schedule schedule(Section section, long steps) {
    Schedule schedule =
        new Schedule(
            section.choice("kind", ScheduleKind.class).orElse(ScheduleKind.CONSTANT),
            section.count("warmup_steps").from(0).orElse(0L),
            section.count("decay_steps").from(1).orElse(steps),
            section.real("min_lr").from(0).orElse(0.0));
    section.end();
    return schedule;
  }
}
