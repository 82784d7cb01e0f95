package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;

/**
 * How a tensor is divided among the ranks.
 *
 * @param starts of each part, and the end of the last one, in elements
 */
public record Parts(long[] starts) {
  /** Parts of the given lengths, one after the other. */
  public static Parts of(long[] counts) {
    long[] starts = new long[counts.length + 1];
    for (int i = 0; i < counts.length; i++) {
      starts[i + 1] = Math.addExact(starts[i], counts[i]);
    }
    return new Parts(starts);
  }

  /** {@code parts} parts that are all of {@code elements}. */
  public static Parts equal(int parts, long elements) {
    long[] starts = new long[parts + 1];
    for (int i = 0; i <= parts; i++) {
      starts[i] = elements / parts * i;
    }
    return new Parts(starts);
  }

  public long total() {
    return starts[starts.length - 1];
  }

  public long count(int part) {
    return starts[part + 1] - starts[part];
  }

  Chunk chunk(Exchange exchange, Tensor tensor, int part) {
    return exchange.range(tensor, starts[part], count(part));
  }
}
