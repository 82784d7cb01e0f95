package dev.phalanx.sharding;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Values of which every rank holds its parts, as ZeRO's stage 3 does (Rajbhandari et al., 2020,
 * 5.3; Zhao et al., 2023, "PyTorch FSDP"). A bucket, which is a layer here, is gathered when the
 * pass comes to it and released when the pass goes on to another one; the one that comes next is
 * gathered meanwhile. Where layers are not to be resharded after the forward pass they stay until
 * the backward pass has left them: a third less is sent, and a pass holds the whole model once.
 *
 * <p>Which one comes next was seen in the first pass of training: a pass does the same each time.
 * Where it does not, as in an evaluation, the guess is the forward pass's order, and a wrong guess
 * costs time only. All ranks see the same passes, so they gather in the same order.
 */
final class ShardedValues implements ParameterValues {
  private static final int NONE = -1;

  /** A bucket that is here whole, or on its way. */
  private static final class Resident {
    final Tensor whole;
    final Map<Parameter, Tensor> views = new IdentityHashMap<>();
    DeviceCollectives.@Nullable Pending gather;

    Resident(Tensor whole, DeviceCollectives.Pending gather) {
      this.whole = whole;
      this.gather = gather;
    }
  }

  private final ShardLayout layout;
  private final DeviceCollectives shardGroup;
  private final Arena arena;
  private final DType dtype;
  private final Waiting waiting;
  private final boolean reshardsAfterForward;
  private final Tensor flatParts; // [elements of this rank's parts], the computation's type
  private final List<Tensor> parts = new ArrayList<>();
  private final @Nullable Resident[] residents;
  private final List<Integer> seen = new ArrayList<>(); // buckets in the order of a training pass
  private boolean isSeen; // whether that is complete
  private boolean isInPass;
  private int position; // in what was seen
  private int current = NONE;

  ShardedValues(
      ModelMemory.Setup setup,
      DType dtype,
      ShardLayout layout,
      DeviceCollectives shardGroup,
      Waiting waiting)
      throws InterruptedException {
    this.layout = layout;
    this.shardGroup = shardGroup;
    this.arena = setup.arena();
    this.dtype = dtype;
    this.waiting = waiting;
    this.reshardsAfterForward = setup.reshardAfterForward();
    this.flatParts = setup.groups().allocate(arena, dtype, layout.partCount());
    layout.buckets().forEach(bucket -> parts.add(layout.part(flatParts, bucket)));
    this.residents = new Resident[layout.buckets().size()];
  }

  @Override
  public Tensor value(Parameter parameter) {
    int bucket = layout.bucketOf(parameter).index();
    if (bucket != current) {
      enter(bucket);
    }
    Resident resident = gathered(bucket);
    return resident.views.computeIfAbsent(
        parameter, missing -> layout.slice(resident.whole, missing));
  }

  private void enter(int bucket) {
    gathered(bucket); // before others: it is needed first
    int next = next(bucket);
    for (int other = 0; other < residents.length; other++) {
      if (other != bucket && other != next && !isNeededAgain(other)) {
        release(other);
      }
    }
    if (next != NONE) {
      gathered(next);
    }
    current = bucket;
    DeviceCollectives.Pending gather = gathered(bucket).gather;
    if (gather != null) {
      waiting.awaitInPass(gather::await);
      gathered(bucket).gather = null;
    }
  }

  /** Whether a bucket is kept because the pass comes back to it, as far as that is known. */
  private boolean isNeededAgain(int bucket) {
    return !reshardsAfterForward
        && isInPass
        && (!isSeen || seen.subList(Math.min(position, seen.size()), seen.size()).contains(bucket));
  }

  /** What the pass will come to after this bucket. */
  private int next(int bucket) {
    if (isInPass && !isSeen) {
      seen.add(bucket);
      return NONE;
    }
    if (isInPass && position < seen.size() && seen.get(position) == bucket) {
      position++;
      return position < seen.size() ? seen.get(position) : NONE;
    }
    return bucket - 1; // of a forward pass; the first bucket has none
  }

  private Resident gathered(int bucket) {
    Resident resident = residents[bucket];
    if (resident == null) {
      Tensor whole = arena.allocate(dtype, layout.buckets().get(bucket).paddedCount());
      resident = new Resident(whole, shardGroup.allGather(parts.get(bucket), whole));
      residents[bucket] = resident;
    }
    return resident;
  }

  private void release(int bucket) {
    Resident resident = residents[bucket];
    if (resident != null) {
      if (resident.gather != null) {
        waiting.awaitInPass(resident.gather::await);
      }
      resident.whole.close();
      residents[bucket] = null;
    }
  }

  @Override
  public Tensor part(ShardLayout.Bucket bucket) {
    return parts.get(bucket.index());
  }

  @Override
  public void distribute() {
    settle(); // what is here whole is of before
  }

  @Override
  public boolean isGatheredInPass() {
    return true;
  }

  @Override
  public void settle() {
    for (int bucket = 0; bucket < residents.length; bucket++) {
      release(bucket);
    }
    current = NONE;
  }

  @Override
  public void beginPass() {
    settle(); // an evaluation may have left some
    isInPass = true;
    position = 0;
    if (isSeen && !seen.isEmpty()) {
      gathered(seen.get(0));
    }
  }

  @Override
  public void endPass() {
    isInPass = false;
    isSeen = true;
    settle();
  }

  @Override
  public long bytes() {
    return flatParts.byteSize();
  }
}
