package dev.phalanx.sharding;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Values that every rank holds whole, as ZeRO's stages 0 to 2 do. After an update each rank has its
 * own parts; the others are gathered while the next forward pass goes on, in the order in which it
 * reads them (Rajbhandari et al., 2020, "ZeRO: Memory Optimizations Toward Training Trillion
 * Parameter Models", 5.1).
 */
final class WholeValues implements ParameterValues {
  private final ShardLayout layout;
  private final Optional<DeviceCollectives> shardGroup;
  private final Waiting waiting;
  private final Tensor flat; // [padded elements], the computation's type
  private final List<Tensor> wholes = new ArrayList<>();
  private final List<Tensor> parts = new ArrayList<>();
  private final Map<Parameter, Tensor> views = new IdentityHashMap<>();
  private final DeviceCollectives.@Nullable Pending[] gathers;

  WholeValues(ModelMemory.Setup setup, DType dtype, ShardLayout layout, Waiting waiting)
      throws InterruptedException {
    this.layout = layout;
    this.shardGroup = setup.shardCollectives();
    this.waiting = waiting;
    this.flat =
        shardGroup.isPresent()
            ? setup.groups().allocate(setup.arena(), dtype, layout.paddedCount())
            : setup.arena().allocate(dtype, layout.paddedCount());
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      Tensor whole = layout.whole(flat, bucket);
      wholes.add(whole);
      parts.add(layout.partOfWhole(whole, bucket, setup.groups().shardRank()));
      bucket
          .parameters()
          .forEach(parameter -> views.put(parameter, layout.slice(whole, parameter)));
    }
    this.gathers = new DeviceCollectives.Pending[layout.buckets().size()];
  }

  @Override
  public Tensor value(Parameter parameter) {
    await(layout.bucketOf(parameter).index());
    Tensor view = views.get(parameter);
    if (view == null) {
      throw new IllegalStateException("Each parameter of the layout has its view");
    }
    return view;
  }

  @Override
  public Tensor part(ShardLayout.Bucket bucket) {
    return parts.get(bucket.index());
  }

  @Override
  public void distribute() {
    if (shardGroup.isEmpty()) {
      return;
    }
    for (int bucket = gathers.length - 1; bucket >= 0; bucket--) { // the forward pass's order
      gathers[bucket] = shardGroup.get().allGather(parts.get(bucket), wholes.get(bucket));
    }
  }

  private void await(int bucket) {
    DeviceCollectives.Pending gather = gathers[bucket];
    if (gather != null) {
      waiting.awaitInPass(gather);
      gathers[bucket] = null;
    }
  }

  @Override
  public void settle() {
    for (int bucket = gathers.length - 1; bucket >= 0; bucket--) {
      await(bucket);
    }
  }

  @Override
  public boolean isGatheredInPass() {
    return false;
  }

  @Override
  public void beginPass() {
    // values are awaited where they are read
  }

  @Override
  public void endPass() {
    // values stay
  }

  @Override
  public long bytes() {
    return flat.byteSize();
  }
}
