package dev.phalanx.sharding;

import dev.phalanx.tensor.autograd.Parameter;
import java.util.function.Consumer;

/**
 * Passes on the buckets whose gradients are all complete, in the order of their numbers, whatever
 * order they complete in: a communicator's operations must not differ between ranks.
 */
final class CompleteBuckets {
  private final ShardLayout layout;
  private final Consumer<ShardLayout.Bucket> next;
  private final int[] missing;
  private int nextBucket;

  /**
   * @param next takes each bucket when it and all before it are complete
   */
  CompleteBuckets(ShardLayout layout, Consumer<ShardLayout.Bucket> next) {
    this.layout = layout;
    this.next = next;
    this.missing = new int[layout.buckets().size()];
    begin();
  }

  /** Before a backward pass. */
  void begin() {
    nextBucket = 0;
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      missing[bucket.index()] = bucket.parameters().size();
    }
  }

  /** One gradient is complete. */
  void add(Parameter parameter) {
    missing[layout.bucketOf(parameter).index()]--;
    while (nextBucket < missing.length && missing[nextBucket] == 0) {
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
    next.accept(layout.buckets().get(nextBucket++));
  }
}
