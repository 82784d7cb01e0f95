package dev.phalanx.sharding;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
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
  private final WholeBuckets values; // the computation's type
  private final DeviceCollectives.@Nullable Pending[] gathers;

  WholeValues(ModelMemory.Setup setup, DType dtype, ShardLayout layout, Waiting waiting)
      throws InterruptedException {
    this.layout = layout;
    this.shardGroup = setup.shardCollectives();
    this.waiting = waiting;
    this.values =
        new WholeBuckets(
            shardGroup.isPresent()
                ? setup.groups().allocate(setup.arena(), dtype, layout.paddedCount())
                : setup.arena().allocate(dtype, layout.paddedCount()),
            layout,
            setup.groups().shardRank());
    this.gathers = new DeviceCollectives.Pending[layout.buckets().size()];
  }

  @Override
  public Tensor value(Parameter parameter) {
    await(layout.bucketOf(parameter).index());
    return values.of(parameter);
  }

  @Override
  public Tensor part(ShardLayout.Bucket bucket) {
    return values.part(bucket.index());
  }

  @Override
  public void distribute() {
    if (shardGroup.isEmpty()) {
      return;
    }
    for (int bucket = gathers.length - 1; bucket >= 0; bucket--) { // the forward pass's order
      gathers[bucket] = shardGroup.get().allGather(values.part(bucket), values.whole(bucket));
    }
  }

  private void await(int bucket) {
    DeviceCollectives.Pending gather = gathers[bucket];
    if (gather != null) {
      waiting.awaitInPass(gather::await);
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
    return values.bytes();
  }
}
