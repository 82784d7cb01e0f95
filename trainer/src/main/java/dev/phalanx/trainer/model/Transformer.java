package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.context.ContextGroup;
import dev.phalanx.parallelism.context.ContextGroup.Chunk;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.parallelism.tensor.VocabularyTable;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Dropout;
import dev.phalanx.tensor.autograd.Loss;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import dev.phalanx.tensor.autograd.RotaryTable;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import dev.phalanx.tensor.nn.NormLayer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A decoder-only transformer: embedding, layers, a last norm, and the projection to the vocabulary.
 *
 * <p>Parameters are named {@code wte}, {@code wpe} (GPT-2), {@code h.L.ln1|qkv|proj|ln2|fc|out},
 * {@code lnf} and, where it is not tied, {@code head.weight}, whatever part of them is here. The
 * rows of {@code qkv} are all queries, then all keys, then all values; of a gated {@code fc} the
 * gate, then the other half. A layer with a mixture of experts has {@code router}, {@code
 * experts.fc} and {@code experts.out} instead of the last two, see {@link
 * dev.phalanx.parallelism.expert.ExpertFeedForward}.
 */
public final class Transformer implements Layer {
  /** What {@link Partition.Copies} call the first and the last stage, which share a tied table. */
  public static final String EMBEDDING_COPIES = "embedding";

  private final TransformerConfig config;
  private final TensorGroup group;
  private final StageLayers stage;
  private final @Nullable VocabularyTable tokenTable;
  private final @Nullable Parameter positionTable;
  private final List<TransformerLayer> layers = new ArrayList<>();
  private final @Nullable NormLayer lastNorm;
  private final @Nullable VocabularyTable outputTable; // the token table where it is tied
  private ContextGroup context = ContextGroup.single();
  private @Nullable RotaryTable rotaryTable; // of the positions that are here

  /** A whole model on one rank. */
  public Transformer(TransformerConfig config, Initialization initialization) {
    this(config, initialization, ModelRanks.single(), StageLayers.all(config.layers()));
  }

  /**
   * A rank's part of a model.
   *
   * @param ranks that divide the layers
   * @param stage which layers are here
   */
  public Transformer(
      TransformerConfig config,
      Initialization initialization,
      ModelRanks ranks,
      StageLayers stage) {
    this.config = config;
    this.group = ranks.tensor();
    this.stage = stage;
    boolean isOutputTied = config.isTied() && stage.isLast();
    this.tokenTable = stage.isFirst() || isOutputTied ? table("wte", initialization) : null;
    this.positionTable =
        stage.isFirst() && config.family() == Family.GPT2
            ? new Parameter(
                "wpe",
                group.copied(Shape.of(config.sequence(), config.hidden())),
                initialization.of("wpe"))
            : null;
    for (int layer = stage.first(); layer < stage.end(); layer++) {
      layers.add(new TransformerLayer(config, layer, initialization, ranks));
    }
    this.lastNorm =
        stage.isLast() ? TransformerLayer.norm(config, "lnf", initialization, group) : null;
    VocabularyTable head = null;
    if (stage.isLast()) {
      head = config.isTied() ? tokenTable : table("head.weight", initialization);
    }
    this.outputTable = head;
  }

  private VocabularyTable table(String name, Initialization initialization) {
    boolean isCopied = config.isTied() && stage.isFirst() != stage.isLast();
    return new VocabularyTable(
        group,
        name,
        config.vocabulary(),
        config.hidden(),
        isCopied
            ? Optional.of(
                new Partition.Copies(EMBEDDING_COPIES, stage.isFirst() ? 0 : 1, true, true))
            : Optional.empty(),
        initialization.of(name));
  }

  /** The names of all parameters of a whole model, in the order of first use. */
  public static List<String> parameterNames(TransformerConfig config) {
    return new Transformer(config, new Initialization.Empty())
        .parameters().stream().map(Parameter::name).toList();
  }

  /** Which layers are here. */
  public StageLayers stage() {
    return stage;
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
    if (stage.isFirst() && tokenTable != null) {
      groups.add(
          positionTable == null
              ? List.of(tokenTable.parameter())
              : List.of(tokenTable.parameter(), positionTable));
    }
    layers.forEach(layer -> groups.add(layer.parameters()));
    if (lastNorm != null) {
      groups.add(lastNorm.parameters());
    }
    if (outputTable != null && !(stage.isFirst() && outputTable == tokenTable)) {
      groups.add(List.of(outputTable.parameter()));
    }
    return groups;
  }

  /**
   * The rows of each matrix of a hidden layer that lies in a whole parameter: of queries, keys and
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
   * How many of this rank's tokens each expert of each layer that is here has got, in passes that
   * learn, since this was asked last.
   *
   * @param loads [layers of the whole model * experts], which it is written to
   */
  public void takeExpertLoads(double[] loads) {
    for (int layer = 0; layer < layers.size(); layer++) {
      long[] load = layers.get(layer).takeExpertLoad();
      for (int expert = 0; expert < load.length; expert++) {
        loads[(stage.first() + layer) * load.length + expert] = load[expert];
      }
    }
  }

  /**
   * Makes the constant tensors of the forward pass in an arena that lives as long as the model.
   * Called once, before the first pass.
   *
   * @param ranks that divide the sequences of all passes
   */
  public void prepare(Arena arena, ContextGroup ranks) {
    context = ranks;
    if (config.family() == Family.LLAMA) {
      rotaryTable = rotaryTable(arena);
    }
  }

  /**
   * This stage's part of a forward pass over a micro-batch.
   *
   * @param received what the stage before has given, [n, hidden] of those tokens that are here;
   *     null on the first stage
   * @return what the next stage is given, or on the last one what {@link #loss} takes
   */
  public Variable forward(
      Tape tape, TokenBatch batch, @Nullable Variable received, PassSetup setup) {
    ForwardPass pass = pass(tape, batch, 0, setup);
    return throughLayers(tape, received == null ? embed(tape, batch, pass) : received, pass, null);
  }

  /**
   * The loss of a micro-batch on the last stage.
   *
   * @param hidden what {@link #forward} has returned
   */
  public Loss loss(Tape tape, Variable hidden, TokenBatch batch, PassSetup setup) {
    return output().loss(tape, hidden, batch.targets(), setup.tokenWeight());
  }

  /**
   * The logits after the last token, [1, vocabulary], for one sequence that follows the tokens in
   * the cache.
   */
  public Variable nextLogits(Tape tape, TokenBatch batch, KeyValueCache cache) {
    if (!context.isSingle()) {
      throw new IllegalStateException("One rank generates by itself, not a part of a sequence");
    }
    ForwardPass pass = pass(tape, batch, cache.length(), PassSetup.NOTHING_LEARNS);
    Variable hidden = throughLayers(tape, embed(tape, batch, pass), pass, cache);
    cache.advance(batch.length());
    Variable last = tape.constant(hidden.value().slice(0, batch.length() - 1, 1));
    return output().logits(tape, last);
  }

  private VocabularyTable output() {
    if (outputTable == null) {
      throw new IllegalStateException("The projection to the vocabulary is not in " + stage);
    }
    return outputTable;
  }

  private ForwardPass pass(Tape tape, TokenBatch batch, long firstPosition, PassSetup setup) {
    long end = firstPosition + batch.length() * context.size();
    if (!context.isSingle() && end != config.sequence()) {
      throw new IllegalArgumentException(
          "Ranks that divide sequences take whole ones of "
              + config.sequence()
              + " tokens, not of "
              + end);
    }
    if (end > config.sequence()) {
      throw new IllegalArgumentException(
          "Position " + end + " is past the model's longest sequence of " + config.sequence());
    }
    return new ForwardPass(
        batch.batch(),
        batch.length(),
        firstPosition,
        context,
        rotary(tape, firstPosition, batch.length()),
        tape.isRecording(),
        setup);
  }

  private Variable embed(Tape tape, TokenBatch batch, ForwardPass pass) {
    if (tokenTable == null || !stage.isFirst()) {
      throw new IllegalStateException("The embedding is not in " + stage);
    }
    Variable x = tokenTable.embed(tape, batch.tokens(), positionTable, batch.positions());
    if (config.dropout() == 0 || !pass.isTraining()) {
      return x;
    }
    Variable dropped =
        Dropout.apply(
            tape,
            x,
            config.dropout(),
            CounterRandom.at(pass.setup().dropoutSeed(), 0),
            pass.elements(group, config.hidden()));
    tape.release(x);
    return dropped;
  }

  private Variable throughLayers(
      Tape tape, Variable first, ForwardPass pass, @Nullable KeyValueCache cache) {
    Variable x = first;
    for (TransformerLayer layer : layers) {
      Variable input = x;
      x =
          config.isRecomputed()
              ? tape.recompute(input, (inner, value) -> layer.forward(inner, value, pass, cache))
              : layer.forward(tape, input, pass, cache);
      tape.release(input);
    }
    if (lastNorm == null) {
      return x;
    }
    Variable normed = lastNorm.forward(tape, x);
    tape.release(x);
    return normed;
  }

  private @Nullable RotaryTable rotary(Tape tape, long firstPosition, long length) {
    RotaryTable table = rotaryTable;
    if (table == null || (firstPosition == 0 && length == table.cosine().size(0))) {
      return table;
    }
    RotaryTable slice = table.slice(firstPosition, length);
    tape.own(slice.cosine());
    tape.own(slice.sine());
    return slice;
  }

  private RotaryTable rotaryTable(Arena arena) {
    float[] frequencies = new float[Math.toIntExact(config.headSize() / 2)];
    for (int pair = 0; pair < frequencies.length; pair++) {
      frequencies[pair] = (float) config.rotaryFrequency(pair);
    }
    Shape shape = Shape.of(context.length(config.sequence()), frequencies.length);
    Tensor cosine = arena.allocate(DType.FLOAT32, shape);
    Tensor sine = arena.allocate(DType.FLOAT32, shape);
    try (Arena host = new Arena(arena.engine(), Device.CPU)) {
      Tensor staged = host.allocate(DType.FLOAT32, shape);
      fillAngles(staged, frequencies, Math::cos);
      arena.engine().copy(staged, cosine);
      arena.engine().synchronize(arena.device());
      fillAngles(staged, frequencies, Math::sin);
      arena.engine().copy(staged, sine);
      arena.engine().synchronize(arena.device());
    }
    return new RotaryTable(cosine, sine);
  }

  /** In fp32 powers and products, as the published models were trained with. */
  private void fillAngles(Tensor table, float[] frequencies, DoubleUnaryOperator function) {
    int rowBytes = frequencies.length * Float.BYTES;
    float[] row = new float[frequencies.length];
    long rows = 0;
    for (Chunk chunk : context.chunks(config.sequence())) {
      for (long position = chunk.first(); position < chunk.first() + chunk.count(); position++) {
        for (int pair = 0; pair < row.length; pair++) {
          row[pair] = (float) function.applyAsDouble((float) position * frequencies[pair]);
        }
        table.byteBuffer(rows++ * rowBytes, rowBytes).asFloatBuffer().put(row);
      }
    }
  }
}
