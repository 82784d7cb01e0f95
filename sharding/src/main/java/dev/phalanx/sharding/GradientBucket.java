package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.List;

/**
 * A run of flat gradient memory that is reduced in one operation: the whole gradients of
 * neighbouring parameters.
 *
 * @param gradients [n] FLOAT32, a slice of the flat gradients, not a copy
 */
record GradientBucket(int index, Tensor gradients, List<Parameter> parameters) {

  /** The first bucket is no larger, so that the network has work early. */
  private static final long FIRST_BUCKET_BYTES = 1L << 20;

  /**
   * Cuts parameters into buckets of about so many bytes of gradients.
   *
   * @param parameters in the order of flat memory
   */
  static List<List<Parameter>> cut(List<Parameter> parameters, long bucketBytes) {
    return cut(parameters, bucketBytes, Math.min(bucketBytes, FIRST_BUCKET_BYTES));
  }

  /**
   * Cuts parameters into buckets.
   *
   * <p>A bucket ends with the parameter that brings it to {@code capacityBytes} of gradients. The
   * first one ends earlier, so that the network has work as soon as the backward pass has left the
   * last layers (Li et al., 2020, "PyTorch Distributed", 4.2).
   *
   * @param parameters in the order of flat memory
   */
  static List<List<Parameter>> cut(
      List<Parameter> parameters, long capacityBytes, long firstCapacityBytes) {
    List<List<Parameter>> buckets = new ArrayList<>();
    List<Parameter> open = new ArrayList<>();
    for (Parameter parameter : parameters) {
      open.add(parameter);
      long capacity = buckets.isEmpty() ? firstCapacityBytes : capacityBytes;
      if (FlatParameters.elementCount(open) * Float.BYTES >= capacity) {
        buckets.add(List.copyOf(open));
        open.clear();
      }
    }
    if (!open.isEmpty()) {
      buckets.add(List.copyOf(open));
    }
    return buckets;
  }
}
