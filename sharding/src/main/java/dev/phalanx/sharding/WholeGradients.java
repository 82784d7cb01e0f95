package dev.phalanx.sharding;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.List;
import java.util.Optional;

/**
 * Gradients that every rank holds whole. They are reduced once a step, while the last micro-batch's
 * backward pass goes on: by all-reduce where every rank updates everything, else by a
 * reduce-scatter that leaves each rank the sum of what it updates (ZeRO's stage 1: Rajbhandari et
 * al., 2020, 5.1). Compressed sums are whole on every rank.
 *
 * <pre>
 *                          in the backward pass        after it
 *   stage 0                all-reduce * +
 *   stage 1                reduce-scatter +
 *   stage 1, compressed    all-reduce *
 *   stage 1, hybrid        reduce-scatter              all-reduce * of parts between copies
 *
 *   * compressed where asked for
 *   + and then what ranks that divide the model have copies of, unless sums are compressed
 * </pre>
 */
final class WholeGradients implements GradientSums {
  private static final GradientListener NOBODY = parameter -> {};

  private final ShardLayout layout;
  private final WholeBuckets gradients; // FLOAT32
  private final Optional<DeviceCollectives> scattering; // where sums are left in parts
  private final Optional<BucketSums> sums; // of buckets, or of parts once they are scattered
  private final OverlappedReducer reducer;
  private final CopiedGradients copies;
  private final boolean areCopiesEarly; // a bucket's one operation leaves its sum
  private final Waiting waiting;

  WholeGradients(ModelMemory.Setup setup, ShardLayout layout, Waiting waiting)
      throws InterruptedException {
    this.layout = layout;
    this.waiting = waiting;
    boolean isScattered =
        setup.groups().shard().isPresent()
            && (setup.compression().isEmpty() || setup.groups().replicas().isPresent());
    this.scattering = isScattered ? setup.shardCollectives() : Optional.empty();
    this.sums =
        (isScattered ? setup.groups().replicas() : setup.groups().all())
            .map(
                group ->
                    new BucketSums(
                        setup.host(), group, setup.compression(), shapes(setup, isScattered)));
    this.gradients =
        new WholeBuckets(
            setup.groups().allocate(setup.arena(), DType.FLOAT32, layout.paddedCount()),
            layout,
            setup.groups().shardRank());
    this.copies = new CopiedGradients(setup, layout, gradients.parts(), waiting);
    this.areCopiesEarly =
        sums.flatMap(BucketSums::compression).isEmpty() && !(isScattered && sums.isPresent());
    this.reducer = new OverlappedReducer(layout, setup.overlap(), this::reduce, waiting);
  }

  private List<List<Shape>> shapes(ModelMemory.Setup setup, boolean isScattered) {
    return isScattered
        ? layout.partShapes(setup.groups().shardRank())
        : layout.buckets().stream()
            .map(bucket -> bucket.parameters().stream().map(Parameter::shape).toList())
            .toList();
  }

  private DeviceCollectives.Pending reduce(ShardLayout.Bucket bucket) {
    Tensor whole = gradients.whole(bucket.index());
    DeviceCollectives.Pending sum =
        scattering.isPresent()
            ? scattering.get().reduceScatter(whole, gradients.part(bucket.index()))
            : sums.orElseThrow().allReduce(bucket.index(), whole);
    return areCopiesEarly ? copies.after(sum, bucket) : sum;
  }

  @Override
  public Tensor gradient(Parameter parameter) {
    return gradients.of(parameter);
  }

  @Override
  public Tensor part(ShardLayout.Bucket bucket) {
    return gradients.part(bucket.index());
  }

  @Override
  public void beginStep(long step) {
    layout.parameters().forEach(Parameter::clearGradient);
    sums.ifPresent(all -> all.beginStep(step));
  }

  @Override
  public GradientListener beginBackward(int part, boolean isLast) {
    return isLast ? reducer : NOBODY;
  }

  @Override
  public void finish() throws InterruptedException {
    reducer.finish();
    if (scattering.isPresent() && sums.isPresent()) {
      waiting.await(sums.get().allReduce(gradients.parts())::await);
    }
    copies.sumRest();
  }

  @Override
  public Optional<BucketSums> compressible() {
    return sums;
  }

  @Override
  public long bytes() {
    return gradients.bytes();
  }
}
