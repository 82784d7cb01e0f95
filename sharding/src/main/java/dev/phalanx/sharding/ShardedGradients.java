package dev.phalanx.sharding;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Gradients of which every rank keeps its parts, as ZeRO's stages 2 and 3 do (Rajbhandari et al.,
 * 2020, 5.2). A bucket's whole gradients live from the first that is written until their
 * reduce-scatter is done, in each micro-batch anew; the parts add up over the micro-batches.
 */
final class ShardedGradients implements GradientSums, GradientListener {
  /** More buckets under way would hold more memory than they hide time. */
  private static final int MOST_UNDER_WAY = 2;

  private static final class Whole {
    final Tensor gradients;
    final Map<Parameter, Tensor> views = new IdentityHashMap<>();

    Whole(Tensor gradients) {
      this.gradients = gradients;
    }
  }

  /**
   * @param sum where the reduce-scatter goes: the part itself, or memory that is added to it
   */
  private record Reduction(
      ShardLayout.Bucket bucket, Whole whole, Tensor sum, DeviceCollectives.Pending pending) {}

  private final Engine engine;
  private final Arena arena;
  private final ShardLayout layout;
  private final DeviceCollectives shardGroup;
  private final Optional<BucketSums> replicas;
  private final boolean overlap;
  private final Waiting waiting;
  private final Tensor flatParts; // [elements of this rank's parts] FLOAT32
  private final List<Tensor> parts = new ArrayList<>();
  private final @Nullable Whole[] wholes;
  private final boolean[] hasSum; // of an earlier micro-batch
  private final Deque<Reduction> underWay = new ArrayDeque<>();
  private final CompleteBuckets complete;
  private final CopiedGradients copies;

  ShardedGradients(
      ModelMemory.Setup setup, ShardLayout layout, DeviceCollectives shardGroup, Waiting waiting) {
    this.arena = setup.arena();
    this.engine = arena.engine();
    this.layout = layout;
    this.shardGroup = shardGroup;
    this.replicas =
        setup
            .groups()
            .replicas()
            .map(
                group ->
                    new BucketSums(
                        setup.host(),
                        group,
                        setup.compression(),
                        layout.partShapes(setup.groups().shardRank())));
    this.overlap = setup.overlap();
    this.waiting = waiting;
    this.flatParts = arena.allocate(DType.FLOAT32, layout.partCount());
    layout.buckets().forEach(bucket -> parts.add(layout.part(flatParts, bucket)));
    this.wholes = new Whole[layout.buckets().size()];
    this.hasSum = new boolean[wholes.length];
    this.complete = new CompleteBuckets(layout, this::launch);
    this.copies = new CopiedGradients(setup, layout, parts, waiting);
  }

  @Override
  public Tensor gradient(Parameter parameter) {
    ShardLayout.Bucket bucket = layout.bucketOf(parameter);
    Whole whole = wholes[bucket.index()];
    if (whole == null) {
      whole = new Whole(arena.allocate(DType.FLOAT32, bucket.paddedCount()));
      wholes[bucket.index()] = whole;
    }
    Tensor gradients = whole.gradients;
    return whole.views.computeIfAbsent(parameter, absent -> layout.slice(gradients, absent));
  }

  @Override
  public Tensor part(ShardLayout.Bucket bucket) {
    return parts.get(bucket.index());
  }

  @Override
  public void beginStep(long step) {
    layout.parameters().forEach(Parameter::clearGradient);
    replicas.ifPresent(sums -> sums.beginStep(step));
    for (int bucket = 0; bucket < hasSum.length; bucket++) {
      hasSum[bucket] = false;
    }
  }

  @Override
  public GradientListener beginBackward(int part, boolean isLast) {
    complete.begin(bucket -> bucket.modelPart() == part);
    return this;
  }

  @Override
  public void gradientComplete(Parameter parameter) {
    complete.add(parameter);
  }

  private void launch(ShardLayout.Bucket bucket) {
    Whole whole = wholes[bucket.index()];
    if (whole == null) {
      throw new IllegalStateException("A complete gradient has its memory");
    }
    wholes[bucket.index()] = null;
    bucket.parameters().forEach(Parameter::clearGradient); // the next micro-batch writes anew
    Tensor part = parts.get(bucket.index());
    Tensor sum = hasSum[bucket.index()] ? arena.allocate(DType.FLOAT32, part.elementCount()) : part;
    hasSum[bucket.index()] = true;
    underWay.add(new Reduction(bucket, whole, sum, shardGroup.reduceScatter(whole.gradients, sum)));
    while (!underWay.isEmpty()
        && (!overlap || underWay.size() > MOST_UNDER_WAY || underWay.peek().pending().isDone())) {
      Reduction done = underWay.remove();
      waiting.awaitInPass(done.pending()::await);
      settle(done);
    }
  }

  private void settle(Reduction done) {
    Tensor part = parts.get(done.bucket().index());
    if (done.sum() != part) {
      engine.addScaled(1, done.sum(), part);
      done.sum().close();
    }
    done.whole().gradients.close();
  }

  @Override
  public void finish() throws InterruptedException {
    while (!underWay.isEmpty()) {
      Reduction done = underWay.remove();
      waiting.await(done.pending()::await);
      settle(done);
    }
    if (replicas.isPresent()) {
      waiting.await(replicas.get().allReduce(parts)::await);
    }
    copies.sumRest();
  }

  @Override
  public long bytes() {
    return flatParts.byteSize();
  }

  @Override
  public Optional<BucketSums> compressible() {
    return replicas;
  }
}
