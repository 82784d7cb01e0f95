package dev.phalanx.sharding;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Gradients that every rank holds whole. They are reduced once a step, while the last micro-batch's
 * backward pass goes on: by all-reduce where every rank updates everything, else by a
 * reduce-scatter that leaves each rank the sum of what it updates (ZeRO's stage 1: Rajbhandari et
 * al., 2020, 5.1).
 */
final class WholeGradients implements GradientSums {
  private static final GradientListener NOBODY = parameter -> {};

  private final ShardLayout layout;
  private final Tensor flat; // [padded elements] FLOAT32
  private final List<Tensor> parts = new ArrayList<>();
  private final Map<Parameter, Tensor> views = new IdentityHashMap<>();
  private final Optional<DeviceCollectives> shardGroup;
  private final Optional<DeviceCollectives> replicas;
  private final OverlappedReducer reducer;
  private final Waiting waiting;

  WholeGradients(ModelMemory.Setup setup, ShardLayout layout, Waiting waiting)
      throws InterruptedException {
    this.layout = layout;
    this.waiting = waiting;
    this.shardGroup = setup.shardCollectives();
    this.replicas = setup.replicaCollectives();
    this.flat = setup.groups().allocate(setup.arena(), DType.FLOAT32, layout.paddedCount());
    List<GradientBucket> buckets = new ArrayList<>();
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      Tensor whole = layout.whole(flat, bucket);
      parts.add(layout.partOfWhole(whole, bucket, setup.groups().shardRank()));
      bucket
          .parameters()
          .forEach(parameter -> views.put(parameter, layout.slice(whole, parameter)));
      buckets.add(new GradientBucket(bucket.index(), whole, bucket.parameters()));
    }
    this.reducer = new OverlappedReducer(buckets, setup.overlap(), this::reduce, waiting);
  }

  private DeviceCollectives.Pending reduce(GradientBucket bucket) {
    Tensor part = parts.get(bucket.index());
    return shardGroup.isPresent()
        ? shardGroup.get().reduceScatter(bucket.gradients(), part)
        : replicas.orElseThrow().allReduce(bucket.gradients());
  }

  @Override
  public Tensor gradient(Parameter parameter) {
    Tensor view = views.get(parameter);
    if (view == null) {
      throw new IllegalArgumentException("Parameter " + parameter + " is not one of this model");
    }
    return view;
  }

  @Override
  public Tensor part(ShardLayout.Bucket bucket) {
    return parts.get(bucket.index());
  }

  @Override
  public void clear() {
    layout.parameters().forEach(Parameter::clearGradient);
  }

  @Override
  public GradientListener beginBackward(boolean isLast) {
    return isLast ? reducer : NOBODY;
  }

  @Override
  public void finish() throws InterruptedException {
    reducer.finish();
    if (shardGroup.isPresent() && replicas.isPresent()) {
      waiting.await(replicas.get().allReduce(parts));
    }
  }

  @Override
  public long bytes() {
    return flat.byteSize();
  }
}
