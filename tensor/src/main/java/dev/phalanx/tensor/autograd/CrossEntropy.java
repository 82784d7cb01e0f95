package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * The loss of a classifier over its logits, {@code scale * sum over rows of -log
 * softmax(logits)[target]}. The logits' memory becomes that of their gradient: nobody may read them
 * afterwards.
 */
public final class CrossEntropy {
  private CrossEntropy() {}

  /**
   * @param logits [n, v]
   * @param targets [n] INT64; a negative one means that the row does not count
   * @param scale what each row's loss counts, as a rule one over the tokens of the global batch
   */
  public static Loss apply(Tape tape, Variable logits, Tensor targets, double scale) {
    Tensor losses = tape.allocate(DType.FLOAT32, Shape.of(logits.shape().size(0)));
    tape.engine().crossEntropy(logits.value(), targets, losses);
    return tape.recordLoss(
        losses,
        List.of(),
        List.of(),
        List.of(),
        () -> {
          tape.engine().crossEntropyBackward(logits.value(), targets, scale);
          tape.give(logits, logits.value());
        });
  }
}
