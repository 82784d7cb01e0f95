package dev.phalanx.parallelism.expert;

import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import java.util.Arrays;
import java.util.List;

/**
 * Chooses each token's experts: logits, in FLOAT32 whatever the model computes in, are products
 * with one row of a matrix for each expert. Their gradients are of the model's type.
 *
 * <p>Every rank that divides matrices chooses for all tokens, and alike, for which they must
 * compute alike to the last bit: with the same engine on processors of one kind. As each has a part
 * of what experts make of them, each has a part of the gradient of the gates too, and of what
 * follows from it; the router's own losses are in the first rank's part.
 */
final class Router implements Layer {
  /**
   * What has been chosen.
   *
   * @param dispatch rows to experts
   * @param gates [n, k]
   */
  record Chosen(Dispatch dispatch, Variable gates) {}

  /** What was decided, and by what. */
  private record Decision(float[] logits, int[] positions, Choices choices, Dispatch dispatch) {}

  private final TensorGroup group;
  private final Mixture mixture;
  private final Parameter weight; // [experts, hidden]
  private final long[] load; // tokens that count which each expert has got in passes that learn
  private Decision last;

  Router(
      TensorGroup group,
      Mixture mixture,
      String name,
      long hidden,
      Parameter.Initializer initializer) {
    this.group = group;
    this.mixture = mixture;
    this.weight =
        new Parameter(
            name + ".weight",
            group.copiedInParts(Shape.of(mixture.experts(), hidden)),
            initializer);
    this.load = new long[mixture.experts()];
    this.last = decision(new float[0], new int[0]);
  }

  /**
   * @param x [n, hidden] of all tokens of this rank's micro-batch
   */
  Chosen choose(Tape tape, Variable x, RoutedTokens tokens) {
    Engine engine = tape.engine();
    long n = x.shape().size(0);
    Tensor logits = logits(tape, x);
    decide(HostArrays.download(engine, logits), tokens.positions());
    Choices choices = last.choices();
    Tensor gates = tape.allocate(x.value().dtype(), Shape.of(n, mixture.perToken()));
    HostArrays.set(engine, gates, choices.gates());
    if (tape.isRecording() && tokens.weight() != 0) {
      for (int expert : choices.experts()) {
        load[expert]++;
      }
    }
    boolean hasLosses = tape.isRecording() && mixture.hasLosses();
    long[] loadOfSequences =
        hasLosses
            ? tokens.context().sum(choices.load(Math.toIntExact(tokens.sequences())))
            : new long[0];
    Variable result =
        tape.record(
            gates,
            List.of(x),
            List.of(weight),
            List.of(x),
            List.of(logits),
            dGates -> {
              float[] ofTokens = HostArrays.download(engine, logits);
              float[] gradients = choices.backward(ofTokens, HostArrays.download(engine, dGates));
              if (hasLosses && group.rank() == 0) {
                choices.addLosses(ofTokens, loadOfSequences, tokens.weight(), gradients);
              }
              Tensor dLogits = tape.allocate(x.value().dtype(), logits.shape());
              HostArrays.set(engine, dLogits, gradients);
              tape.contribute(
                  x,
                  (dx, accumulate) ->
                      engine.matmul(dLogits, false, weight.value(), false, dx, 1, accumulate));
              tape.contributeLate(
                  weight,
                  (dWeight, accumulate) ->
                      engine.matmul(dLogits, true, x.value(), false, dWeight, 1, accumulate));
              if (tape.leavesForLater()) {
                tape.own(dLogits);
              } else {
                dLogits.close();
              }
            });
    return new Chosen(last.dispatch(), result);
  }

  /** As the last ones where all logits are the same: in a plan that is only calculated they are. */
  private void decide(float[] logits, int[] positions) {
    if (!Arrays.equals(logits, last.logits()) || !Arrays.equals(positions, last.positions())) {
      last = decision(logits, positions);
    }
  }

  private Decision decision(float[] logits, int[] positions) {
    Choices choices = new Choices(mixture, logits, positions);
    return new Decision(
        logits, positions, choices, Dispatch.of(choices.experts(), mixture.experts()));
  }

  /** A product of FLOAT32 factors: one of narrower ones may be rounded on its way. */
  private Tensor logits(Tape tape, Variable x) {
    Engine engine = tape.engine();
    Tensor logits = tape.allocate(DType.FLOAT32, Shape.of(x.shape().size(0), mixture.experts()));
    if (x.value().dtype() == DType.FLOAT32) {
      engine.matmul(x.value(), false, weight.value(), true, logits, 1, false);
      return logits;
    }
    try (Tensor tokens = tape.allocate(DType.FLOAT32, x.shape());
        Tensor rows = tape.allocate(DType.FLOAT32, weight.shape())) {
      engine.copy(x.value(), tokens);
      engine.copy(weight.value(), rows);
      engine.matmul(tokens, false, rows, true, logits, 1, false);
    }
    return logits;
  }

  /** How many tokens each expert has got from here since this was asked last, [experts]. */
  long[] takeLoad() {
    long[] taken = load.clone();
    Arrays.fill(load, 0);
    return taken;
  }

  @Override
  public List<Parameter> parameters() {
    return List.of(weight);
  }
}
