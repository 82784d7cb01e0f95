package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.tensor.ColumnParallelLinear;
import dev.phalanx.parallelism.tensor.RowParallelLinear;
import dev.phalanx.parallelism.tensor.Rows;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.autograd.Gelu;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.SwiGlu;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** One feed-forward layer, which all tokens go through. */
final class DenseFeedForward implements FeedForward {
  private final TransformerConfig config;
  private final ColumnParallelLinear in;
  private final RowParallelLinear out;

  /**
   * @param prefix of the parameters' names
   */
  DenseFeedForward(
      TransformerConfig config, String prefix, Initialization initialization, TensorGroup group) {
    this.config = config;
    TensorGroup.Share share = group.share(config.feedForward());
    boolean hasBias = config.family() == Family.GPT2;
    Rows first = new Rows(share.first(), share.count());
    Rows second = new Rows(config.feedForward() + share.first(), share.count());
    this.in =
        new ColumnParallelLinear(
            group,
            prefix + "fc",
            config.hidden(),
            config.isGated() ? 2 * config.feedForward() : config.feedForward(),
            config.isGated() ? List.of(first, second) : List.of(first),
            initialization.of(prefix + "fc.weight"),
            hasBias ? initialization.of(prefix + "fc.bias") : null);
    this.out =
        new RowParallelLinear(
            group,
            prefix + "out",
            config.feedForward(),
            config.hidden(),
            share,
            initialization.of(prefix + "out.weight"),
            hasBias ? initialization.of(prefix + "out.bias") : null);
  }

  @Override
  public Variable forward(Tape tape, Variable x, @Nullable Variable residual, ForwardPass pass) {
    Variable widened = in.forward(tape, x);
    tape.release(x);
    Variable activated = activate(config, tape, widened);
    tape.release(widened);
    Variable result =
        residual == null
            ? out.forward(tape, activated)
            : out.forwardAndAdd(tape, activated, residual);
    tape.release(activated);
    return result;
  }

  /** The activation of the model's family. */
  static Variable activate(TransformerConfig config, Tape tape, Variable widened) {
    return config.isGated() ? SwiGlu.apply(tape, widened) : Gelu.apply(tape, widened);
  }

  @Override
  public long[] takeLoad() {
    return new long[0];
  }

  @Override
  public List<Long> matrices(Parameter parameter) {
    if (parameter == in.weight() && config.isGated()) {
      return List.of(config.feedForward(), config.feedForward());
    }
    return parameter == in.weight() || parameter == out.weight()
        ? List.of(parameter.partition().whole().size(0))
        : List.of();
  }

  @Override
  public List<Parameter> parameters() {
    return Stream.concat(in.parameters().stream(), out.parameters().stream()).toList();
  }
}
