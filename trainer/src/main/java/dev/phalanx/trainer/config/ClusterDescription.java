package dev.phalanx.trainer.config;

import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.trainer.config.JobConfig.Precision;
import java.util.OptionalDouble;

/**
 * A cluster as a file describes it: how fast its devices are depends on what a plan computes in.
 *
 * @param in16Bits with the rate of bf16, which fp16 has too
 * @param fp32OperationsPerSecond of a device's matrix products, as fast as layers reach it; empty
 *     where the file does not say
 */
public record ClusterDescription(Cluster in16Bits, OptionalDouble fp32OperationsPerSecond) {
  /** The cluster as a plan of this precision finds it, at the rate of bf16 where none is known. */
  public Cluster in(Precision precision) {
    return precision == Precision.FP32 && fp32OperationsPerSecond.isPresent()
        ? in16Bits.withOperationsPerSecond(fp32OperationsPerSecond.getAsDouble())
        : in16Bits;
  }

  /** The precision of whose rate {@link #in} makes use. */
  public Precision timedAs(Precision precision) {
    return precision == Precision.FP32 && fp32OperationsPerSecond.isEmpty()
        ? Precision.BF16
        : precision;
  }
}
