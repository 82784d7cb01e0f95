package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.expert.ExpertFeedForward;
import dev.phalanx.parallelism.expert.ExpertGroup;
import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.parallelism.expert.RoutedTokens;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.autograd.Add;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A mixture of experts, of which each token goes through a few. */
final class RoutedFeedForward implements FeedForward {
  private final ExpertFeedForward experts;

  RoutedFeedForward(
      TransformerConfig config,
      Mixture mixture,
      String prefix,
      Initialization initialization,
      TensorGroup tensor,
      ExpertGroup group) {
    this.experts =
        new ExpertFeedForward(
            mixture,
            tensor,
            group,
            prefix,
            config.hidden(),
            config.feedForward(),
            config.isGated(),
            (tape, widened) -> DenseFeedForward.activate(config, tape, widened),
            initialization::of);
  }

  @Override
  public Variable forward(Tape tape, Variable x, @Nullable Variable residual, ForwardPass pass) {
    Variable result =
        experts.forward(
            tape,
            x,
            new RoutedTokens(
                pass.batch(),
                pass.length(),
                pass.firstPosition(),
                pass.context(),
                pass.setup().tokenWeight()));
    tape.release(x);
    if (residual == null) {
      return result;
    }
    Variable sum = Add.apply(tape, result, residual);
    tape.release(result);
    return sum;
  }

  @Override
  public long[] takeLoad() {
    return experts.takeLoad();
  }

  @Override
  public List<Long> matrices(Parameter parameter) {
    return experts.matrices(parameter);
  }

  @Override
  public List<Parameter> parameters() {
    return experts.parameters();
  }
}
