package dev.phalanx.trainer;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.trainer.config.JobConfig;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * What the loss is multiplied with before the backward pass, so that gradients which fp16 would
 * round to nought are numbers (Micikevicius et al., 2018, "Mixed Precision Training", 3.2). The
 * factor is found while training goes on: gradients that are not finite halve it, and the step is
 * skipped; after so many steps without one it is doubled.
 *
 * <p>All ranks see the same norm, so they skip the same steps and have the same factor. Without
 * loss scaling the factor is 1 and stays.
 */
final class LossScaler {
  /** The name of {@link #saved} in a checkpoint's optimizer file. */
  static final String SAVED_AS = "loss_scaling";

  /** Gradients that are too large even so come from the model, not from the factor. */
  private static final double LEAST = 0x1p-14;

  private static final double MOST = 0x1p60;

  /** Saved where there is no loss scaling. */
  private static final double NO_SCALE = 0;

  private static final int SCALE = 0;
  private static final int STEPS_SINCE_CHANGE = 1;
  private static final int SKIPPED_STEPS = 2;

  private final boolean isDynamic;
  private final double initial;
  private final long growthInterval;
  private final Tensor saved; // [3] FLOAT64

  private LossScaler(boolean isDynamic, double initial, long growthInterval, Arena host) {
    this.isDynamic = isDynamic;
    this.initial = initial;
    this.growthInterval = growthInterval;
    this.saved = host.zeros(DType.FLOAT64, 3);
    begin();
  }

  private void begin() {
    set(SCALE, isDynamic ? initial : NO_SCALE);
    set(STEPS_SINCE_CHANGE, 0);
  }

  /**
   * @param settings empty: the factor is always 1
   * @param host owns a few numbers; an arena on the CPU
   */
  static LossScaler of(Optional<JobConfig.LossScaling> settings, Arena host) {
    return settings
        .map(scaling -> new LossScaler(true, scaling.initial(), scaling.growthInterval(), host))
        .orElseGet(() -> new LossScaler(false, 1, 0, host));
  }

  boolean isDynamic() {
    return isDynamic;
  }

  /** What the loss of the next step is multiplied with. */
  double scale() {
    return isDynamic ? get(SCALE) : 1;
  }

  /** {@link #scale} for the report, where there is anything to say. */
  OptionalDouble reported() {
    return isDynamic ? OptionalDouble.of(scale()) : OptionalDouble.empty();
  }

  /** Steps since the job's start in which the parameters stayed as they were. */
  long skippedSteps() {
    return (long) get(SKIPPED_STEPS);
  }

  /** The gradients of a step were finite. */
  void succeeded() {
    if (!isDynamic) {
      return;
    }
    double steps = get(STEPS_SINCE_CHANGE) + 1;
    boolean grows = steps >= growthInterval;
    set(STEPS_SINCE_CHANGE, grows ? 0 : steps);
    if (grows) {
      set(SCALE, Math.min(MOST, 2 * scale()));
    }
  }

  /**
   * The gradients of a step were not finite, and it is skipped.
   *
   * @param step from 1
   * @throws NotFiniteException where a smaller factor would not help any more
   */
  void skipped(long step) {
    set(SKIPPED_STEPS, get(SKIPPED_STEPS) + 1);
    set(STEPS_SINCE_CHANGE, 0);
    set(SCALE, scale() / 2);
    if (scale() < LEAST) {
      throw new NotFiniteException(
          "Step "
              + step
              + " has gradients that are not finite in fp16 even where the loss is multiplied with"
              + " only "
              + 2 * scale()
              + ", so training has stopped; smaller factors would not help. Lower optimizer.lr,"
              + " write 'precision: bf16', or go on from an earlier checkpoint with --resume.");
    }
  }

  /** Whether a job that goes on would miss what is {@link #saved}. */
  boolean isToBeSaved() {
    return isDynamic || skippedSteps() > 0;
  }

  /**
   * [3] FLOAT64 on the CPU: the factor, 0 where there is no loss scaling; good steps since it
   * changed; skipped steps. Whoever reads a checkpoint's into it calls {@link #loaded} next.
   */
  Tensor saved() {
    return saved;
  }

  /** The steps that were skipped count in any precision; the factor only in one that has it. */
  void loaded() {
    if (!isDynamic || get(SCALE) == NO_SCALE) {
      begin();
    }
  }

  private double get(int index) {
    return place(index).getDouble();
  }

  private void set(int index, double value) {
    place(index).putDouble(value);
  }

  private ByteBuffer place(int index) {
    return saved.byteBuffer((long) index * Double.BYTES, Double.BYTES);
  }
}
