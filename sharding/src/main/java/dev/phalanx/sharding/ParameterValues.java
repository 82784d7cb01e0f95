package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;

/** Where the values lie that the computation reads. */
interface ParameterValues {
  /** At each use. */
  Tensor value(Parameter parameter);

  /** What this rank holds of a bucket for good, padding among it. */
  Tensor part(ShardLayout.Bucket bucket);

  /** All ranks' parts have changed: the values follow. */
  void distribute();

  /** When this returns no gather is under way: this rank's parts may be changed. */
  void settle();

  /** Whether ranks talk to each other within each pass. */
  boolean isGatheredInPass();

  /** A pass of training begins. */
  void beginPass();

  /** The pass is over. */
  void endPass();

  /** Bytes that are held between steps. */
  long bytes();
}
