package dev.phalanx.trainer.config;

/**
 * The learning rate as a function of the step number alone, so that a resumed job needs no state
 * for it.
 *
 * <p>With {@code w} warm-up steps, {@code d} decay steps (the number of the step at which the decay
 * is over, the warm-up included), peak rate {@code lr} and steps {@code s} from 0:
 *
 * <pre>
 *   s &lt; w      lr (s + 1) / w
 *   constant   lr
 *   linear     min_lr + (lr - min_lr) (1 - f)                    f = min(1, (s - w) / (d - w))
 *   cosine     min_lr + 0.5 (lr - min_lr) (1 + cos(pi f))        (Loshchilov and Hutter, 2017, without restarts)
 * </pre>
 *
 * <p>From step {@code d} on the rate stays {@code min_lr} (linear and cosine). Immutable.
 */
public final class LearningRateSchedule {
  private final JobConfig.Schedule schedule;
  private final double peak;

  private LearningRateSchedule(JobConfig.Schedule schedule, double peak) {
    this.schedule = schedule;
    this.peak = peak;
  }

  public static LearningRateSchedule of(JobConfig.Optimizer optimizer) {
    return new LearningRateSchedule(optimizer.schedule(), optimizer.learningRate());
  }

  /**
   * The rate of one step.
   *
   * @param step from 0
   */
  public double at(long step) {
    if (step < 0) {
      throw new IllegalArgumentException("step is " + step + "; steps are counted from 0");
    }
    long warmup = schedule.warmupSteps();
    if (step < warmup) {
      return peak * (step + 1) / warmup;
    }
    double floor = schedule.minimumLearningRate();
    return switch (schedule.kind()) {
      case CONSTANT -> peak;
      case LINEAR -> floor + (peak - floor) * (1 - decayed(step));
      case COSINE -> floor + 0.5 * (peak - floor) * (1 + Math.cos(Math.PI * decayed(step)));
    };
  }

  /** The part of the decay that is over before this step, from 0 to 1. */
  private double decayed(long step) {
    if (step >= schedule.decaySteps()) {
      return 1;
    }
    long warmup = schedule.warmupSteps();
    return (double) (step - warmup) / (schedule.decaySteps() - warmup);
  }
}
