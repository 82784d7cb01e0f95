package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Normalisation of each row to mean 0 and variance 1, then gain and bias (Ba et al., 2016): [n, d]
 * to [n, d].
 */
public final class LayerNorm {
  private LayerNorm() {}

  public static Variable apply(
      Tape tape, Variable x, Parameter weight, Parameter bias, double epsilon) {
    Engine engine = tape.engine();
    Shape rows = Shape.of(x.shape().size(0));
    Tensor y = tape.allocate(x.value().dtype(), x.shape());
    Tensor mean = tape.allocate(DType.FLOAT32, rows);
    Tensor rstd = tape.allocate(DType.FLOAT32, rows);
    engine.layerNorm(x.value(), weight.value(), bias.value(), epsilon, y, mean, rstd);
    return tape.record(
        y,
        List.of(x),
        List.of(weight, bias),
        List.of(x),
        List.of(mean, rstd),
        dy ->
            tape.contribute(
                weight,
                (dWeight, accumulateWeight) ->
                    tape.contribute(
                        bias,
                        (dBias, accumulateBias) ->
                            tape.contributeAlways(
                                x,
                                (dx, accumulateInput) ->
                                    engine.layerNormBackward(
                                        dy,
                                        x.value(),
                                        weight.value(),
                                        mean,
                                        rstd,
                                        dx,
                                        accumulateInput,
                                        dWeight,
                                        dBias,
                                        accumulateWeight)))));
  }
}
