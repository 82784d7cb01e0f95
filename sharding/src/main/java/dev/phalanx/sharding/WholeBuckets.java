package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * Views of flat memory that holds every bucket whole: of buckets, of one rank's parts of them, of
 * parameters.
 */
final class WholeBuckets {
  private final Tensor flat;
  private final List<Tensor> wholes = new ArrayList<>();
  private final List<Tensor> parts = new ArrayList<>();
  private final Map<Parameter, Tensor> parameters = new IdentityHashMap<>();

  /**
   * @param flat [padded elements]
   * @param shardRank whose parts are wanted
   */
  WholeBuckets(Tensor flat, ShardLayout layout, int shardRank) {
    this.flat = flat;
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      Tensor whole = layout.whole(flat, bucket);
      wholes.add(whole);
      parts.add(layout.partOfWhole(whole, bucket, shardRank));
      bucket
          .parameters()
          .forEach(parameter -> parameters.put(parameter, layout.slice(whole, parameter)));
    }
  }

  /** A bucket, padding among it. */
  Tensor whole(int bucket) {
    return wholes.get(bucket);
  }

  /** The rank's part of a bucket, padding among it. */
  Tensor part(int bucket) {
    return parts.get(bucket);
  }

  /** The rank's parts of all buckets. */
  List<Tensor> parts() {
    return parts;
  }

  /** In the parameter's shape. */
  Tensor of(Parameter parameter) {
    Tensor view = parameters.get(parameter);
    if (view == null) {
      throw new IllegalArgumentException("Parameter " + parameter + " is not one of this model");
    }
    return view;
  }

  long bytes() {
    return flat.byteSize();
  }
}
