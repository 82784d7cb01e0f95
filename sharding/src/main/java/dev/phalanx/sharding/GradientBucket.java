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

  /**
   * Cuts flat gradients into buckets.
   *
   * <p>A bucket ends with the parameter that brings it to {@code capacityBytes}. The first one ends
   * earlier, so that the network has work as soon as the backward pass has left the last layers (Li
   * et al., 2020, "PyTorch Distributed", 4.2).
   */
  static List<GradientBucket> cut(
      FlatParameters flat, long capacityBytes, long firstCapacityBytes) {
    List<GradientBucket> buckets = new ArrayList<>();
    List<Parameter> open = new ArrayList<>();
    long start = 0;
    long end = 0;
    for (Parameter parameter : flat.parameters()) {
      open.add(parameter);
      end += parameter.shape().elementCount();
      long capacity = buckets.isEmpty() ? firstCapacityBytes : capacityBytes;
      if ((end - start) * Float.BYTES >= capacity) {
        buckets.add(bucket(buckets.size(), flat, start, end, open));
        open.clear();
        start = end;
      }
    }
    if (!open.isEmpty()) {
      buckets.add(bucket(buckets.size(), flat, start, end, open));
    }
    return buckets;
  }

  private static GradientBucket bucket(
      int index, FlatParameters flat, long start, long end, List<Parameter> parameters) {
    return new GradientBucket(
        index, flat.gradients().slice(0, start, end - start), List.copyOf(parameters));
  }
}
