package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;
import java.util.List;
import java.util.Optional;

/**
 * A run of a parameter's elements within this rank's part of a bucket.
 *
 * @param offset of the first element in the part
 * @param copies who else holds these elements, as {@link Partition} says it
 */
record HeldRun(
    ShardLayout.Bucket bucket, long offset, long count, Optional<Partition.Copies> copies) {
  /** Whether this rank counts them where each element of a model counts once. */
  boolean isCounted() {
    return copies.isEmpty() || copies.get().index() == 0;
  }

  /** Whether its gradient is a part of a sum over ranks of this name. */
  boolean isPartOf(String group) {
    return copies.isPresent() && copies.get().isPartial() && copies.get().group().equals(group);
  }

  /** Its slice of a part. */
  Tensor of(List<Tensor> partsOfBuckets) {
    return partsOfBuckets.get(bucket.index()).slice(0, offset, count);
  }
}
