package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Division of each row by its root mean square, then a gain (Zhang and Sennrich, 2019): [n, d] to
 * [n, d].
 */
public final class RmsNorm {
  private RmsNorm() {}

  public static Variable apply(Tape tape, Variable x, Parameter weight, double epsilon) {
    Engine engine = tape.engine();
    Tensor y = tape.allocate(x.value().dtype(), x.shape());
    Tensor rstd = tape.allocate(DType.FLOAT32, Shape.of(x.shape().size(0)));
    engine.rmsNorm(x.value(), weight.value(), epsilon, y, rstd);
    return tape.record(
        y,
        List.of(x),
        List.of(weight),
        List.of(x),
        List.of(rstd),
        dy ->
            tape.contribute(
                weight,
                (dWeight, accumulateWeight) ->
                    tape.contributeAlways(
                        x,
                        (dx, accumulateInput) ->
                            engine.rmsNormBackward(
                                dy,
                                x.value(),
                                weight.value(),
                                rstd,
                                dx,
                                accumulateInput,
                                dWeight,
                                accumulateWeight))));
  }
}
