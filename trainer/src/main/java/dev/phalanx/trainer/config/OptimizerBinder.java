package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Schedule;
import dev.phalanx.trainer.config.JobConfig.ScheduleKind;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/** The section {@code optimizer}. */
final class OptimizerBinder {
  private OptimizerBinder() {}

  enum Kind implements Choice {
    ADAMW,
    SGD,
    LAMB,
    MUON
  }

  static Optimizer bind(Section section, long steps) {
    Kind kind =
        section.kind(
            "kind",
            Kind.class,
            Optional.of(Kind.ADAMW),
            Map.of(
                Kind.ADAMW, List.of("betas", "eps"),
                Kind.LAMB, List.of("betas", "eps"),
                Kind.SGD, List.of("momentum", "nesterov"),
                Kind.MUON,
                    List.of("momentum", "nesterov", "ns_steps", "adamw_lr", "betas", "eps")));
    Optimizer optimizer =
        new Optimizer(
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
    section.end();
    return optimizer;
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
      case SGD -> throw new IllegalStateException("sgd has neither betas nor eps");
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
