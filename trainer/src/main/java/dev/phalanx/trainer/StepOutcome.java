package dev.phalanx.trainer;

import java.util.OptionalDouble;

/**
 * What a step has found out; the same on all ranks.
 *
 * @param loss the mean over the global batch
 * @param gradientNorm before clipping, over all parameters of the model
 * @param items tokens or samples that were trained on, as the job's {@link Unit} says
 * @param lossScale of this step; fp16 only
 * @param expertLoad see {@link StepRecord}
 * @param isSkipped whether the parameters are unchanged
 * @param stopIsRequested by any rank: all stop after the same step
 */
public record StepOutcome(
    double loss,
    double gradientNorm,
    double learningRate,
    long items,
    OptionalDouble lossScale,
    OptionalDouble expertLoad,
    boolean isSkipped,
    boolean stopIsRequested) {}
