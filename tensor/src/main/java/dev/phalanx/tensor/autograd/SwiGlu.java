package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * The gated activation of Llama (Shazeer, 2020) on a packed input: {@code silu(first half) * second
 * half}, [n, 2 d] to [n, d].
 */
public final class SwiGlu {
  private SwiGlu() {}

  public static Variable apply(Tape tape, Variable packed) {
    Engine engine = tape.engine();
    long width = packed.shape().size(-1) / 2;
    Tensor y = tape.allocate(packed.value().dtype(), packed.shape().with(-1, width));
    engine.swiGlu(half(packed.value(), 0), half(packed.value(), 1), y);
    return tape.record(
        y,
        List.of(packed),
        List.of(),
        List.of(packed),
        List.of(),
        dy ->
            tape.contributeNew(
                packed,
                dPacked ->
                    engine.swiGluBackward(
                        dy,
                        half(packed.value(), 0),
                        half(packed.value(), 1),
                        half(dPacked, 0),
                        half(dPacked, 1))));
  }

  private static Tensor half(Tensor packed, int which) {
    long width = packed.size(-1) / 2;
    return packed.slice(-1, which * width, width);
  }
}
