package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Queries, keys and values of attention side by side, as one projection makes them: [n, (h + 2 g)
 * d] holds, for each of n = batch * length tokens, h query heads, then g key heads, then g value
 * heads of size d.
 *
 * @param batch sequences
 * @param length tokens of each that are here
 * @param heads h
 * @param keyValueHeads g
 * @param rotary the angles of these tokens' positions, or null where heads are not turned
 */
public record PackedHeads(
    long batch, long length, long heads, long keyValueHeads, @Nullable RotaryTable rotary) {
  /** Views [b, t, h, d] of the queries, and [b, t, g, d] of the others. */
  public record Views(Tensor query, Tensor key, Tensor value) {}

  public Views views(Tensor packed) {
    Tensor all = packed.reshape(batch, length, heads + 2 * keyValueHeads, headSize(packed));
    return new Views(
        all.slice(2, 0, heads),
        all.slice(2, heads, keyValueHeads),
        all.slice(2, heads + keyValueHeads, keyValueHeads));
  }

  private long headSize(Tensor packed) {
    return packed.size(1) / (heads + 2 * keyValueHeads);
  }

  /** Of the heads' results side by side, [n, h d]. */
  public Shape resultShape(Tensor packed) {
    return Shape.of(batch * length, heads * headSize(packed));
  }

  /** Results [n, h d] as [b, t, h, d]. */
  public Tensor ofResult(Tensor result) {
    return result.reshape(batch, length, heads, result.size(1) / heads);
  }

  /** Of logSumExp, [b, h, t]. */
  public Shape statisticsShape() {
    return Shape.of(batch, heads, length);
  }

  /** The factor of scores. */
  public double scale(Tensor query) {
    return 1 / Math.sqrt((double) query.size(3));
  }

  /** Turns queries and keys in place by their positions' angles, or back. */
  public void turn(Engine engine, Views x, boolean inverse) {
    if (rotary != null) {
      engine.rotary(x.query(), rotary.cosine(), rotary.sine(), inverse, x.query());
      engine.rotary(x.key(), rotary.cosine(), rotary.sine(), inverse, x.key());
    }
  }
}
