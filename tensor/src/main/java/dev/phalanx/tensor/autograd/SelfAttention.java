package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Causal attention over packed projections (Vaswani et al., 2017; grouped-query heads: Ainslie et
 * al., 2023).
 *
 * <p>With a rotary table queries and keys are turned <em>in place</em> first: the packed value
 * belongs to this operation, nobody else may read it afterwards.
 *
 * @param heads of whole sequences
 */
public record SelfAttention(PackedHeads heads) {
  /** Packed projections [n, (h + 2 g) d] to the heads' results side by side [n, h d]. */
  public Variable apply(Tape tape, Variable packed) {
    Engine engine = tape.engine();
    PackedHeads.Views x = heads.views(packed.value());
    double scale = heads.scale(x.query());
    heads.turn(engine, x, false);
    Tensor out = tape.allocate(packed.value().dtype(), heads.resultShape(packed.value()));
    Tensor logSumExp = tape.allocate(DType.FLOAT32, heads.statisticsShape());
    Tensor outHeads = heads.ofResult(out);
    engine.attention(x.query(), x.key(), x.value(), true, scale, outHeads, logSumExp);
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
                      PackedHeads.Views dx = heads.views(dPacked);
                      engine.attentionBackward(
                          heads.ofResult(dOut),
                          x.query(),
                          x.key(),
                          x.value(),
                          true,
                          scale,
                          outHeads,
                          logSumExp,
                          dx.query(),
                          dx.key(),
                          dx.value());
                      heads.turn(engine, dx, true);
                    }));
    tape.keepResult(result);
    return result;
  }
}
