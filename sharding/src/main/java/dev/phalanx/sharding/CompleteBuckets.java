package dev.phalanx.sharding;

import dev.phalanx.tensor.autograd.Parameter;
import java.util.function.Consumer;
import java.util.function.Predicate;

/**
 * Passes on the buckets whose gradients are all complete, in the order of their numbers, whatever
 * order they complete in: a communicator's operations must not differ between ranks.
 */
final class CompleteBuckets {
  private final ShardLayout layout;
  private final Consumer<ShardLayout.Bucket> next;
  private final int[] missing;
  private final boolean[] isLeftOut;
  private int nextBucket;

  /**
   * @param next takes each bucket when it and all before it are complete
   */
  CompleteBuckets(ShardLayout layout, Consumer<ShardLayout.Bucket> next) {
    this.layout = layout;
    this.next = next;
    this.missing = new int[layout.buckets().size()];
    this.isLeftOut = new boolean[missing.length];
    begin(bucket -> true);
  }

  /**
   * Before a backward pass.
   *
   * @param isReached whether the pass comes to a bucket; others are left out
   */
  void begin(Predicate<ShardLayout.Bucket> isReached) {
    nextBucket = 0;
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      missing[bucket.index()] = bucket.parameters().size();
      isLeftOut[bucket.index()] = !isReached.test(bucket);
    }
  }

  /** One gradient is complete. */
  void add(Parameter parameter) {
    missing[layout.bucketOf(parameter).index()]--;
    while (nextBucket < missing.length && (isLeftOut[nextBucket] || missing[nextBucket] == 0)) {
      passOn();
    }
  }

  /** Passes on all that are left, complete or not. */
  void passOnRest() {
    while (nextBucket < missing.length) {
      passOn();
    }
  }

  private void passOn() {
    int bucket = nextBucket++;
    if (!isLeftOut[bucket]) {
      next.accept(layout.buckets().get(bucket));
    }
  }
}
