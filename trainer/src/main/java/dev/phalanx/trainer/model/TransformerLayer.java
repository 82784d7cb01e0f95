package dev.phalanx.trainer.model;

import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.autograd.Add;
import dev.phalanx.tensor.autograd.Dropout;
import dev.phalanx.tensor.autograd.Gelu;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.SelfAttention;
import dev.phalanx.tensor.autograd.SwiGlu;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import dev.phalanx.tensor.nn.LayerNormLayer;
import dev.phalanx.tensor.nn.LinearLayer;
import dev.phalanx.tensor.nn.NormLayer;
import dev.phalanx.tensor.nn.RmsNormLayer;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** One layer: {@code x += attention(norm(x))}, then {@code x += feedForward(norm(x))}. */
final class TransformerLayer implements Layer {
  private final TransformerConfig config;
  private final int number;
  private final NormLayer attentionNorm;
  private final LinearLayer queryKeyValue;
  private final LinearLayer projection;
  private final NormLayer feedForwardNorm;
  private final LinearLayer feedForwardIn;
  private final LinearLayer feedForwardOut;

  TransformerLayer(TransformerConfig config, int number, Initialization initialization) {
    this.config = config;
    this.number = number;
    String name = "h." + number + ".";
    long hidden = config.hidden();
    long packed = (config.heads() + 2 * config.keyValueHeads()) * config.headSize();
    boolean isGated = config.family() == Family.LLAMA;
    this.attentionNorm = norm(config, name + "ln1", initialization);
    this.queryKeyValue = linear(config, name + "qkv", hidden, packed, initialization);
    this.projection = linear(config, name + "proj", hidden, hidden, initialization);
    this.feedForwardNorm = norm(config, name + "ln2", initialization);
    this.feedForwardIn =
        linear(
            config,
            name + "fc",
            hidden,
            isGated ? 2 * config.feedForward() : config.feedForward(),
            initialization);
    this.feedForwardOut =
        linear(config, name + "out", config.feedForward(), hidden, initialization);
  }

  static NormLayer norm(TransformerConfig config, String name, Initialization initialization) {
    return switch (config.family()) {
      case GPT2 ->
          new LayerNormLayer(
              name,
              config.hidden(),
              config.normEpsilon(),
              initialization.of(name + ".weight"),
              initialization.of(name + ".bias"));
      case LLAMA ->
          new RmsNormLayer(
              name, config.hidden(), config.normEpsilon(), initialization.of(name + ".weight"));
    };
  }

  private static LinearLayer linear(
      TransformerConfig config,
      String name,
      long inputs,
      long outputs,
      Initialization initialization) {
    boolean hasBias = config.family() == Family.GPT2;
    return new LinearLayer(
        name,
        inputs,
        outputs,
        initialization.of(name + ".weight"),
        hasBias ? initialization.of(name + ".bias") : null);
  }

  /** [n, hidden] to [n, hidden]. */
  Variable forward(Tape tape, Variable x, ForwardPass pass, @Nullable KeyValueCache cache) {
    Variable normed = attentionNorm.forward(tape, x);
    Variable packed = queryKeyValue.forward(tape, normed);
    tape.release(normed);
    Variable attended = attend(tape, packed, pass, cache);
    tape.release(packed);
    Variable middle = add(tape, projection, attended, x, pass, 0);
    tape.release(attended);

    Variable normedAgain = feedForwardNorm.forward(tape, middle);
    Variable widened = feedForwardIn.forward(tape, normedAgain);
    tape.release(normedAgain);
    Variable activated =
        config.family() == Family.LLAMA ? SwiGlu.apply(tape, widened) : Gelu.apply(tape, widened);
    tape.release(widened);
    Variable result = add(tape, feedForwardOut, activated, middle, pass, 1);
    tape.release(activated);
    tape.release(middle);
    return result;
  }

  private Variable attend(
      Tape tape, Variable packed, ForwardPass pass, @Nullable KeyValueCache cache) {
    if (cache != null) {
      return cache.attend(tape, number, packed, pass);
    }
    return new SelfAttention(
            pass.batch(), pass.length(), config.heads(), config.keyValueHeads(), pass.rotary())
        .apply(tape, packed);
  }

  private Variable add(
      Tape tape, LinearLayer layer, Variable x, Variable residual, ForwardPass pass, int half) {
    if (config.dropout() == 0 || !pass.isTraining()) {
      return layer.forwardAndAdd(tape, x, residual);
    }
    long seed = CounterRandom.at(pass.dropoutSeed(), 1 + 2L * number + half);
    Variable dropped =
        Dropout.apply(
            tape,
            layer.forward(tape, x),
            config.dropout(),
            seed,
            pass.firstToken() * config.hidden());
    return Add.apply(tape, dropped, residual);
  }

  /** See {@link Transformer#hiddenMatrices}. */
  List<Long> matrices(Parameter parameter) {
    if (parameter == queryKeyValue.weight()) {
      long keys = config.keyValueHeads() * config.headSize();
      return List.of(config.heads() * config.headSize(), keys, keys);
    }
    if (parameter == feedForwardIn.weight() && config.family() == Family.LLAMA) {
      return List.of(config.feedForward(), config.feedForward());
    }
    boolean isMatrix =
        Stream.of(projection, feedForwardIn, feedForwardOut)
            .anyMatch(layer -> parameter == layer.weight());
    return isMatrix ? List.of(parameter.shape().size(0)) : List.of();
  }

  @Override
  public List<Parameter> parameters() {
    return Stream.<Layer>of(
            attentionNorm,
            queryKeyValue,
            projection,
            feedForwardNorm,
            feedForwardIn,
            feedForwardOut)
        .flatMap(layer -> layer.parameters().stream())
        .toList();
  }
}
