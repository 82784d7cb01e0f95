package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.context.RingAttention;
import dev.phalanx.parallelism.tensor.ColumnParallelLinear;
import dev.phalanx.parallelism.tensor.RowParallelLinear;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.Add;
import dev.phalanx.tensor.autograd.Dropout;
import dev.phalanx.tensor.autograd.PackedHeads;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import dev.phalanx.tensor.autograd.SelfAttention;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import dev.phalanx.tensor.nn.LayerNormLayer;
import dev.phalanx.tensor.nn.NormLayer;
import dev.phalanx.tensor.nn.RmsNormLayer;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** One layer: {@code x += attention(norm(x))}, then {@code x += feedForward(norm(x))}. */
final class TransformerLayer implements Layer {
  private final TransformerConfig config;
  private final int number;
  private final TensorGroup group;
  private final HeadShare heads;
  private final NormLayer attentionNorm;
  private final ColumnParallelLinear queryKeyValue;
  private final RowParallelLinear projection;
  private final NormLayer feedForwardNorm;
  private final FeedForward feedForward;

  TransformerLayer(
      TransformerConfig config, int number, Initialization initialization, ModelRanks ranks) {
    this.config = config;
    this.number = number;
    this.group = ranks.tensor();
    this.heads = new HeadShare(config, group);
    String name = "h." + number + ".";
    long hidden = config.hidden();
    boolean hasBias = config.family() == Family.GPT2;
    this.attentionNorm = norm(config, name + "ln1", initialization, group);
    this.queryKeyValue =
        new ColumnParallelLinear(
            group,
            name + "qkv",
            hidden,
            (config.heads() + 2 * config.keyValueHeads()) * config.headSize(),
            heads.queryKeyValueRows(),
            initialization.of(name + "qkv.weight"),
            hasBias ? initialization.of(name + "qkv.bias") : null);
    this.projection =
        new RowParallelLinear(
            group,
            name + "proj",
            hidden,
            hidden,
            heads.projectionColumns(),
            initialization.of(name + "proj.weight"),
            hasBias ? initialization.of(name + "proj.bias") : null);
    this.feedForwardNorm = norm(config, name + "ln2", initialization, group);
    this.feedForward =
        config
            .mixture()
            .<FeedForward>map(
                mixture ->
                    new RoutedFeedForward(
                        config, mixture, name, initialization, group, ranks.expert()))
            .orElseGet(() -> new DenseFeedForward(config, name, initialization, group));
  }

  static NormLayer norm(
      TransformerConfig config, String name, Initialization initialization, TensorGroup group) {
    Partition copied = group.copied(Shape.of(config.hidden()));
    return switch (config.family()) {
      case GPT2 ->
          new LayerNormLayer(
              name,
              copied,
              config.normEpsilon(),
              initialization.of(name + ".weight"),
              initialization.of(name + ".bias"));
      case LLAMA ->
          new RmsNormLayer(name, copied, config.normEpsilon(), initialization.of(name + ".weight"));
    };
  }

  /** [n, hidden] to [n, hidden], of those tokens that are here. */
  Variable forward(Tape tape, Variable x, ForwardPass pass, @Nullable KeyValueCache cache) {
    Variable normed = attentionNorm.forward(tape, x);
    Variable packed = queryKeyValue.forward(tape, normed);
    tape.release(normed);
    Variable attended = attend(tape, packed, pass, cache);
    tape.release(packed);
    Variable middle =
        add(
            tape,
            x,
            pass,
            0,
            residual ->
                residual == null
                    ? projection.forward(tape, attended)
                    : projection.forwardAndAdd(tape, attended, residual));
    tape.release(attended);

    Variable normedAgain = feedForwardNorm.forward(tape, middle);
    Variable result =
        add(
            tape,
            middle,
            pass,
            1,
            residual -> feedForward.forward(tape, normedAgain, residual, pass));
    tape.release(middle);
    return result;
  }

  private Variable attend(
      Tape tape, Variable packed, ForwardPass pass, @Nullable KeyValueCache cache) {
    if (cache != null) {
      return cache.attend(tape, number, packed, pass);
    }
    PackedHeads ofTokens =
        new PackedHeads(
            pass.batch(), pass.length(), heads.queries(), heads.keyValues(), pass.rotary());
    return pass.context().isSingle()
        ? new SelfAttention(ofTokens).apply(tape, packed)
        : new RingAttention(pass.context(), ofTokens).apply(tape, packed);
  }

  /** What a half of the layer computes, for which it may add the residual itself. */
  private interface Half {
    Variable compute(@Nullable Variable residual);
  }

  private Variable add(Tape tape, Variable residual, ForwardPass pass, int which, Half half) {
    if (config.dropout() == 0 || !pass.isTraining()) {
      return half.compute(residual);
    }
    long seed = CounterRandom.at(pass.setup().dropoutSeed(), 1 + 2L * number + which);
    Variable computed = half.compute(null);
    Variable dropped =
        Dropout.apply(
            tape, computed, config.dropout(), seed, pass.elements(group, config.hidden()));
    tape.release(computed);
    Variable sum = Add.apply(tape, dropped, residual);
    tape.release(dropped);
    return sum;
  }

  /** Of this layer's experts, see {@link Transformer#takeExpertLoads}. */
  long[] takeExpertLoad() {
    return feedForward.takeLoad();
  }

  /** See {@link Transformer#hiddenMatrices}. */
  List<Long> matrices(Parameter parameter) {
    if (parameter == queryKeyValue.weight()) {
      long keys = config.keyValueHeads() * config.headSize();
      return List.of(config.heads() * config.headSize(), keys, keys);
    }
    return parameter == projection.weight()
        ? List.of(parameter.partition().whole().size(0))
        : feedForward.matrices(parameter);
  }

  @Override
  public List<Parameter> parameters() {
    return Stream.<Layer>of(attentionNorm, queryKeyValue, projection, feedForwardNorm, feedForward)
        .flatMap(layer -> layer.parameters().stream())
        .toList();
  }
}
