package dev.phalanx.trainer.model;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Dropout;
import dev.phalanx.tensor.autograd.Embedding;
import dev.phalanx.tensor.autograd.Linear;
import dev.phalanx.tensor.autograd.LinearCrossEntropy;
import dev.phalanx.tensor.autograd.Loss;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.RotaryTable;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import dev.phalanx.tensor.nn.NormLayer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A decoder-only transformer: embedding, layers, a last norm, and the projection to the vocabulary.
 *
 * <p>Parameters are named {@code wte}, {@code wpe} (GPT-2), {@code h.L.ln1|qkv|proj|ln2|fc|out},
 * {@code lnf} and, where it is not tied, {@code head.weight}. The rows of {@code qkv} are all
 * queries, then all keys, then all values; of a gated {@code fc} the gate, then the other half.
 */
public final class Transformer implements Layer {
  private final TransformerConfig config;
  private final Parameter tokenTable;
  private final @Nullable Parameter positionTable;
  private final List<TransformerLayer> layers = new ArrayList<>();
  private final NormLayer lastNorm;
  private final @Nullable Parameter head;
  private @Nullable RotaryTable rotaryTable;

  public Transformer(TransformerConfig config, Initialization initialization) {
    this.config = config;
    this.tokenTable = table("wte", config.vocabulary(), initialization);
    this.positionTable =
        config.family() == Family.GPT2 ? table("wpe", config.sequence(), initialization) : null;
    for (int layer = 0; layer < config.layers(); layer++) {
      layers.add(new TransformerLayer(config, layer, initialization));
    }
    this.lastNorm = TransformerLayer.norm(config, "lnf", initialization);
    this.head = config.isTied() ? null : table("head.weight", config.vocabulary(), initialization);
  }

  private Parameter table(String name, long rows, Initialization initialization) {
    return new Parameter(name, Shape.of(rows, config.hidden()), initialization.of(name));
  }

  public TransformerConfig config() {
    return config;
  }

  @Override
  public List<Parameter> parameters() {
    return parameterGroups().stream().flatMap(List::stream).toList();
  }

  /** {@link #parameters}, those together that the forward pass reads together. */
  public List<List<Parameter>> parameterGroups() {
    List<List<Parameter>> groups = new ArrayList<>();
    groups.add(positionTable == null ? List.of(tokenTable) : List.of(tokenTable, positionTable));
    layers.forEach(layer -> groups.add(layer.parameters()));
    groups.add(lastNorm.parameters());
    if (head != null) {
      groups.add(List.of(head));
    }
    return groups;
  }

  /**
   * The rows of each matrix of a hidden layer that lies in a parameter: of queries, keys and
   * values, of the two halves of a gated feed-forward layer, or all rows. Empty for what is no such
   * matrix.
   */
  public List<Long> hiddenMatrices(Parameter parameter) {
    return layers.stream()
        .map(layer -> layer.matrices(parameter))
        .filter(rows -> !rows.isEmpty())
        .findFirst()
        .orElse(List.of());
  }

  /**
   * Makes the constant tensors of the forward pass in an arena that lives as long as the model.
   * Called once, before the first pass.
   */
  public void prepare(Arena arena) {
    if (config.family() == Family.LLAMA) {
      rotaryTable = rotaryTable(arena);
    }
  }

  /**
   * The loss of a micro-batch.
   *
   * @param scale see {@link LinearCrossEntropy}
   * @param dropoutSeed the seed of this step's masks
   * @param firstSequence the number of the first sequence within the global batch
   */
  public Loss loss(
      Tape tape, TokenBatch batch, double scale, long dropoutSeed, long firstSequence) {
    Variable hidden = hidden(tape, batch, 0, dropoutSeed, firstSequence * batch.length(), null);
    return LinearCrossEntropy.apply(tape, hidden, outputTable(), batch.targets(), scale);
  }

  /** The logits of all positions, [batch * length, vocabulary]. */
  public Variable logits(Tape tape, TokenBatch batch) {
    return Linear.apply(tape, hidden(tape, batch, 0, 0, 0, null), outputTable(), null, null);
  }

  /**
   * The logits after the last token, [1, vocabulary], for one sequence that follows the tokens in
   * the cache.
   */
  public Variable nextLogits(Tape tape, TokenBatch batch, KeyValueCache cache) {
    Variable hidden = hidden(tape, batch, cache.length(), 0, 0, cache);
    cache.advance(batch.length());
    Variable last = tape.constant(hidden.value().slice(0, batch.length() - 1, 1));
    return Linear.apply(tape, last, outputTable(), null, null);
  }

  private Parameter outputTable() {
    return head == null ? tokenTable : head;
  }

  private Variable hidden(
      Tape tape,
      TokenBatch batch,
      long firstPosition,
      long dropoutSeed,
      long firstToken,
      @Nullable KeyValueCache cache) {
    long end = firstPosition + batch.length();
    if (end > config.sequence()) {
      throw new IllegalArgumentException(
          "Position " + end + " is past the model's longest sequence of " + config.sequence());
    }
    ForwardPass pass =
        new ForwardPass(
            batch.batch(),
            batch.length(),
            rotary(tape, firstPosition, batch.length()),
            tape.isRecording(),
            dropoutSeed,
            firstToken);
    Variable x =
        Embedding.apply(tape, tokenTable, batch.tokens(), positionTable, batch.positions());
    if (pass.isTraining()) {
      x =
          Dropout.apply(
              tape,
              x,
              config.dropout(),
              CounterRandom.at(dropoutSeed, 0),
              firstToken * config.hidden());
    }
    for (TransformerLayer layer : layers) {
      Variable input = x;
      x =
          config.isRecomputed()
              ? tape.recompute(input, (inner, value) -> layer.forward(inner, value, pass, cache))
              : layer.forward(tape, input, pass, cache);
      tape.release(input);
    }
    Variable normed = lastNorm.forward(tape, x);
    tape.release(x);
    return normed;
  }

  private @Nullable RotaryTable rotary(Tape tape, long firstPosition, long length) {
    RotaryTable table = rotaryTable;
    if (table == null || (firstPosition == 0 && length == config.sequence())) {
      return table;
    }
    RotaryTable slice = table.slice(firstPosition, length);
    tape.own(slice.cosine());
    tape.own(slice.sine());
    return slice;
  }

  private RotaryTable rotaryTable(Arena arena) {
    long half = config.headSize() / 2;
    Shape shape = Shape.of(config.sequence(), half);
    Tensor cosine = arena.allocate(DType.FLOAT32, shape);
    Tensor sine = arena.allocate(DType.FLOAT32, shape);
    try (Arena host = new Arena(arena.engine(), Device.CPU)) {
      Tensor staged = host.allocate(DType.FLOAT32, shape);
      fillAngles(staged, half, Math::cos);
      arena.engine().copy(staged, cosine);
      arena.engine().synchronize(arena.device());
      fillAngles(staged, half, Math::sin);
      arena.engine().copy(staged, sine);
      arena.engine().synchronize(arena.device());
    }
    return new RotaryTable(cosine, sine);
  }

  private void fillAngles(Tensor table, long half, DoubleUnaryOperator function) {
    for (long position = 0; position < config.sequence(); position++) {
      ByteBuffer row =
          table.byteBuffer(position * half * Float.BYTES, Math.toIntExact(half * Float.BYTES));
      for (long i = 0; i < half; i++) {
        // fp32 powers and products, as the published models were trained with
        float frequency = (float) config.rotaryFrequency(i);
        row.putFloat((float) function.applyAsDouble((float) position * frequency));
      }
    }
  }
}
