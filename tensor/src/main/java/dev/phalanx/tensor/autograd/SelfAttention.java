package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Causal attention over packed projections (Vaswani et al., 2017; grouped-query heads: Ainslie et
 * al., 2023).
 *
 * <p>The packed input [n, (h + 2 g) c] holds, for each of n = batch * length tokens, h query heads,
 * then g key heads, then g value heads of size c. With a rotary table queries and keys are turned
 * <em>in place</em> first: the packed value belongs to this operation, nobody else may read it
 * afterwards.
 *
 * @param batch sequences
 * @param length tokens of each
 * @param heads h
 * @param keyValueHeads g
 */
public record SelfAttention(
    long batch, long length, long heads, long keyValueHeads, @Nullable RotaryTable rotary) {

  /** Packed projections [n, (h + 2 g) c] to the heads' results side by side [n, h c]. */
  public Variable apply(Tape tape, Variable packed) {
    Engine engine = tape.engine();
    long headSize = packed.shape().size(1) / (heads + 2 * keyValueHeads);
    double scale = 1 / Math.sqrt((double) headSize);
    Views x = views(packed.value(), headSize);
    turn(engine, x, false);
    Tensor out = tape.allocate(packed.value().dtype(), Shape.of(batch * length, heads * headSize));
    Tensor logSumExp = tape.allocate(DType.FLOAT32, Shape.of(batch, heads, length));
    Tensor outHeads = out.reshape(batch, length, heads, headSize);
    engine.attention(x.query, x.key, x.value, true, scale, outHeads, logSumExp);
    Variable result =
        tape.record(
            out,
            List.of(packed),
            List.of(),
            List.of(packed),
            List.of(logSumExp),
            dOut ->
                tape.contributeNew(
                    packed,
                    dPacked -> {
                      Views dx = views(dPacked, headSize);
                      engine.attentionBackward(
                          dOut.reshape(batch, length, heads, headSize),
                          x.query,
                          x.key,
                          x.value,
                          true,
                          scale,
                          outHeads,
                          logSumExp,
                          dx.query,
                          dx.key,
                          dx.value);
                      turn(engine, dx, true);
                    }));
    tape.keepResult(result);
    return result;
  }

  private record Views(Tensor query, Tensor key, Tensor value) {}

  private Views views(Tensor packed, long headSize) {
    Tensor heads4 = packed.reshape(batch, length, heads + 2 * keyValueHeads, headSize);
    return new Views(
        heads4.slice(2, 0, heads),
        heads4.slice(2, heads, keyValueHeads),
        heads4.slice(2, heads + keyValueHeads, keyValueHeads));
  }

  private void turn(Engine engine, Views x, boolean inverse) {
    if (rotary != null) {
      engine.rotary(x.query, rotary.cosine(), rotary.sine(), inverse, x.query);
      engine.rotary(x.key, rotary.cosine(), rotary.sine(), inverse, x.key);
    }
  }
}
