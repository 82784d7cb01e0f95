package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = x weight^T + bias (+ residual)}: x [n, in], weight [out, in], bias [out], residual and
 * y [n, out]. The residual rides on the product's accumulation, and its gradient is the output's
 * own, handed on without a copy.
 */
public final class Linear {
  private Linear() {}

  public static Variable apply(
      Tape tape,
      Variable x,
      Parameter weight,
      @Nullable Parameter bias,
      @Nullable Variable residual) {
    Engine engine = tape.engine();
    Tensor y =
        tape.allocate(x.value().dtype(), Shape.of(x.shape().size(0), weight.shape().size(0)));
    engine.linear(
        x.value(),
        weight.value(),
        bias == null ? null : bias.value(),
        residual == null ? null : residual.value(),
        y);
    List<Variable> inputs = new ArrayList<>(List.of(x));
    if (residual != null) {
      inputs.add(residual);
    }
    List<Parameter> parameters = bias == null ? List.of(weight) : List.of(weight, bias);
    return tape.record(
        y,
        inputs,
        parameters,
        List.of(x),
        List.of(),
        dy -> {
          tape.contribute(
              x,
              (dx, accumulate) ->
                  engine.matmul(dy, false, weight.value(), false, dx, 1, accumulate));
          tape.contributeLate(
              weight,
              (dWeight, accumulate) ->
                  engine.matmul(dy, true, x.value(), false, dWeight, 1, accumulate));
          if (bias != null) {
            tape.contribute(bias, (dBias, accumulate) -> engine.sumRows(dy, dBias, accumulate));
          }
          if (residual != null) {
            tape.give(residual, dy);
          }
        });
  }
}
