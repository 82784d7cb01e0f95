package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;
import java.util.ArrayList;
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

  /** The same elements in as few runs as can be, whatever else is said of those that are joined. */
  static List<HeldRun> joined(List<HeldRun> runs) {
    List<HeldRun> joined = new ArrayList<>();
    for (HeldRun run : runs) {
      HeldRun last = joined.isEmpty() ? null : joined.get(joined.size() - 1);
      if (last != null
          && last.bucket() == run.bucket()
          && last.offset() + last.count() == run.offset()) {
        joined.set(
            joined.size() - 1,
            new HeldRun(last.bucket(), last.offset(), last.count() + run.count(), last.copies()));
      } else {
        joined.add(run);
      }
    }
    return joined;
  }

  /** Its slice of a part. */
  Tensor of(List<Tensor> partsOfBuckets) {
    return partsOfBuckets.get(bucket.index()).slice(0, offset, count);
  }
}
