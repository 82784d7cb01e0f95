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
    long start = 0;
    for (List<Parameter> parameters : cut(flat.parameters(), capacityBytes, firstCapacityBytes)) {
      long count = FlatParameters.elementCount(parameters);
      buckets.add(
          new GradientBucket(buckets.size(), flat.gradients().slice(0, start, count), parameters));
      start += count;
    }
    return buckets;
  }

  /**
   * The parameters of each bucket.
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
