package dev.phalanx.trainer.config;

import dev.phalanx.parallelism.mesh.DeviceMesh;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.Stream;

/**
 * A training job and its parallel layout: the plan file after parsing, with defaults filled in.
 * Immutable; two equal plans are equal values. Every component is a key of the plan file, described
 * in {@code docs/plan-file.md}.
 *
 * <p>{@link JobConfigParser} makes one from YAML, {@link JobConfigWriter} writes it back, {@link
 * JobConfigValidator} checks it against the number of ranks.
 *
 * @param lossScaling there where the precision is fp16
 * @param seed of everything random for which the plan gives no seed of its own
 * @param steps optimizer steps of the whole job, at least 1
 * @param checkpoint empty: no checkpoints are written
 * @param threads that one kernel of one rank may use; 0: the host's cores are shared between its
 *     ranks
 */
public record JobConfig(
    String name,
    long seed,
    EngineKind engine,
    DeviceKind device,
    Precision precision,
    Optional<LossScaling> lossScaling,
    int threads,
    Model model,
    Data data,
    Batch batch,
    Optimizer optimizer,
    long steps,
    Parallel parallel,
    Sharding sharding,
    Communication communication,
    Optional<Checkpoint> checkpoint,
    Log log,
    Evaluation evaluation) {
  /** Of a job. */
  public static final int MOST_RANKS = 1 << 20;

  /**
   * The transformer that is trained.
   *
   * @throws IllegalStateException where the model is none: its family's own module trains it
   */
  public Transformer transformer() {
    if (model instanceof Transformer transformer) {
      return transformer;
    }
    throw new IllegalStateException("A model of family " + model.family().label());
  }

  /**
   * The same job with another model: how sizes that came from a weights directory or a tokenizer
   * are filled in.
   */
  public JobConfig withModel(Transformer changed) {
    return with(changed, batch, checkpoint);
  }

  /** The same job with other sizes of batches. */
  public JobConfig withBatch(Batch changed) {
    return with(model, changed, checkpoint);
  }

  /** The same job where nothing is saved. */
  public JobConfig withoutCheckpoint() {
    return with(model, batch, Optional.empty());
  }

  private JobConfig with(Model otherModel, Batch otherBatch, Optional<Checkpoint> otherCheckpoint) {
    return new JobConfig(
        name,
        seed,
        engine,
        device,
        precision,
        lossScaling,
        threads,
        otherModel,
        data,
        otherBatch,
        optimizer,
        steps,
        parallel,
        sharding,
        communication,
        otherCheckpoint,
        log,
        evaluation);
  }

  /**
   * Micro-batches that each data-parallel rank runs for one optimizer step; where the batch does
   * not divide evenly, some ranks have fewer samples in the last one, or none.
   *
   * @param worldSize ranks of the job; the plan must have passed {@link JobConfigValidator} with it
   */
  public long microBatchesPerStep(int worldSize) {
    long samplesAtOnce = batch.micro() * parallel.dataSize(worldSize);
    return (batch.global() + samplesAtOnce - 1) / samplesAtOnce;
  }

  /**
   * Every effective key as plain maps, lists, strings, numbers and booleans, in the order of the
   * plan file.
   */
  public Map<String, Object> toMap() {
    return JobConfigWriter.toMap(this);
  }

  /** Which kernels compute. */
  public enum EngineKind implements Choice {
    AUTO,
    TORCH,
    ND4J
  }

  /** Where tensors live. */
  public enum DeviceKind implements Choice {
    AUTO,
    CPU,
    CUDA
  }

  /**
   * What forward and backward compute in; master weights, moments and reductions are fp32 in all of
   * them.
   */
  public enum Precision implements Choice {
    FP32,
    BF16,
    FP16
  }

  /**
   * What the loss is multiplied with before the backward pass, so that small gradients are numbers
   * in fp16: {@code initial} at first, halved where gradients are too large, doubled after so many
   * steps without that.
   */
  public record LossScaling(double initial, long growthInterval) {}

  /** What is trained. */
  public sealed interface Model {
    Family family();
  }

  /**
   * A network of another library, which knows its sizes.
   *
   * @param path of the network, or of its configuration
   */
  public record Network(Family family, String path) implements Model {}

  /**
   * A transformer. A size that is 0, or a choice that is empty, was left out and has no default in
   * the plan: with {@link Init.HuggingFace} it is what the directory's {@code config.json} says,
   * and {@code vocab} may also follow from a tokenizer file or a prepared token file.
   *
   * @param hidden width of the residual stream
   * @param kvHeads key and value heads, a divisor of {@code heads} (llama: grouped-query attention)
   * @param ffnHidden width inside the feed-forward layers
   * @param sequence tokens of a training sequence
   * @param vocab token ids of the model, before any padding
   * @param dropout probability in [0, 1)
   * @param tiedEmbeddings whether the output layer is the token embedding
   * @param normEpsilon added to the variance in LayerNorm and to the mean square in RMSNorm
   * @param ropeTheta base of the rotary embedding (llama); empty for other families
   * @param ropeScaling of its frequencies (llama); empty for other families
   * @param experts of each layer, {@code ffnHidden} wide each; empty: one feed-forward layer for
   *     all tokens, or with {@link Init.HuggingFace} what the directory says
   */
  public record Transformer(
      Family family,
      int layers,
      long hidden,
      int heads,
      int kvHeads,
      long ffnHidden,
      long sequence,
      long vocab,
      double dropout,
      Optional<Boolean> tiedEmbeddings,
      Optional<Double> normEpsilon,
      Optional<Double> ropeTheta,
      Optional<RopeScaling> ropeScaling,
      Recompute recompute,
      Optional<Experts> experts,
      Init init)
      implements Model {}

  /**
   * A mixture of experts in each layer.
   *
   * @param count of experts; 0: what the directory says
   * @param topK experts that a token goes to; 0: what the directory says
   * @param balance factor of the loss that is least where experts get equally many tokens
   * @param zLoss factor of the loss that keeps the router's logits small
   */
  public record Experts(int count, int topK, double balance, double zLoss) {}

  public enum Family implements Choice {
    /** LayerNorm, learned positions, GELU (tanh form), biases (Radford et al., 2019). */
    GPT2,
    /** RMSNorm, rotary positions, SwiGLU, no biases (Touvron et al., 2023). */
    LLAMA,
    /** A {@code MultiLayerNetwork} or {@code ComputationGraph} in a file. */
    DEEPLEARNING4J
  }

  /** What was done to rotary frequencies so that a trained model takes longer sequences. */
  public sealed interface RopeScaling {
    record None() implements RopeScaling {}

    /**
     * Llama 3.1's.
     *
     * @param factor by which the slowest frequencies are divided
     * @param lowFrequencyFactor slow are those with fewer turns than this in {@code
     *     originalSequence} tokens
     * @param highFrequencyFactor those with more turns than this stay as they are
     * @param originalSequence tokens of the sequences that the model was trained on before
     */
    record Llama3(
        double factor, double lowFrequencyFactor, double highFrequencyFactor, long originalSequence)
        implements RopeScaling {}
  }

  /** Which activations backward computes again instead of keeping them. */
  public enum Recompute implements Choice {
    NONE,
    SELECTIVE,
    FULL
  }

  /** Where the weights come from. */
  public sealed interface Init {
    /** Normal distribution with this standard deviation. */
    record Normal(double std) implements Init {}

    /** The formulas of the numeric reference. */
    record Reference(long seed) implements Init {}

    /** A directory with {@code config.json} and safetensors files. */
    record HuggingFace(String path) implements Init {}
  }

  /** What the model learns from. */
  public sealed interface Data {
    /** Of the order of samples, or of the reference's formulas. */
    long seed();

    /** What made the tokens, where the plan says so: {@code bytes}, {@code gpt2} or a path. */
    Optional<String> tokenizerName();

    /** A file of UTF-8 text. */
    record Text(String path, String tokenizer, long seed) implements Data {
      @Override
      public Optional<String> tokenizerName() {
        return Optional.of(tokenizer);
      }
    }

    /** A file of token ids that {@code phalanx data prepare} made. */
    record Tokens(String path, Optional<String> tokenizerName, long seed) implements Data {}

    /** The formulas of the numeric reference. */
    record Reference(long seed) implements Data {
      @Override
      public Optional<String> tokenizerName() {
        return Optional.empty();
      }
    }

    /** Samples with labels, for networks of other libraries. */
    sealed interface Samples extends Data {
      @Override
      default Optional<String> tokenizerName() {
        return Optional.empty();
      }
    }

    /**
     * Images with a class each in idx files.
     *
     * @param folder of files with MNIST's names; empty: the others name the files
     * @param test held-out images
     * @param classes empty: one more than the largest label of the training images
     */
    record Idx(
        Optional<String> folder,
        Optional<Files> training,
        Optional<Files> test,
        Optional<Integer> classes,
        long seed)
        implements Samples {
      /** A pair that belongs together. */
      public record Files(String images, String labels) {}
    }

    /**
     * Rows of a table.
     *
     * @param test a file of held-out rows; empty: a part of the others is held out
     * @param labels columns that are predicted, by name or by number from 0
     * @param classes 0: the labels are numbers
     * @param features columns that are looked at; empty: all others
     */
    record Table(
        Format format,
        String path,
        Optional<String> test,
        List<String> labels,
        int classes,
        List<String> features,
        Normalization normalization,
        long seed)
        implements Samples {
      public Table {
        labels = List.copyOf(labels);
        features = List.copyOf(features);
      }
    }

    /** How a table is written. */
    sealed interface Format {}

    /**
     * Text, a row a line.
     *
     * @param delimiter one character
     */
    record Csv(Header header, String delimiter) implements Format {}

    /** Apache Parquet. */
    record Parquet() implements Format {}

    /** Whether the first line names the columns. */
    enum Header implements Choice {
      AUTO,
      YES,
      NO
    }

    /** What is done to features, by what the training rows are like. */
    enum Normalization implements Choice {
      NONE,
      /** Mean 0 and variance 1. */
      STANDARD,
      /** From 0 to 1. */
      MINMAX
    }
  }

  /**
   * Sizes in sequences, or in samples of other models.
   *
   * @param global sequences of an optimizer step
   * @param micro sequences of a micro-batch of one data-parallel rank; 0: a rank computes its share
   *     at once, as networks of other libraries do
   * @param isUneven whether ranks and micro-batches may have unequal shares, where {@code global}
   *     does not divide
   */
  public record Batch(long global, long micro, boolean isUneven) {
    /** With equal shares. */
    public Batch(long global, long micro) {
      this(global, micro, false);
    }
  }

  /**
   * @param learningRate the peak rate
   * @param weightDecay decoupled, on parameters of two or more dimensions
   * @param clipGradNorm empty: no clipping
   */
  public record Optimizer(
      Rule algorithm,
      double learningRate,
      double weightDecay,
      OptionalDouble clipGradNorm,
      Schedule schedule) {

    /** How a gradient becomes an update. */
    public sealed interface Rule {
      /** The value of {@code optimizer.kind}. */
      String kind();

      /** Whether an element's update follows from the others of its parameter too. */
      default boolean looksAtWholeParameters() {
        return false;
      }
    }

    /** Loshchilov and Hutter, 2019. */
    public record AdamW(double beta1, double beta2, double epsilon) implements Rule {
      @Override
      public String kind() {
        return "adamw";
      }
    }

    /** Stochastic gradient descent; momentum 0 keeps no state. */
    public record Sgd(double momentum, boolean nesterov) implements Rule {
      @Override
      public String kind() {
        return "sgd";
      }
    }

    /**
     * Jordan et al., 2024, for the matrices of hidden layers; AdamW for everything else.
     *
     * @param adamWLearningRate AdamW's peak rate; it follows the schedule as Muon's does
     * @param beta1 AdamW's, as beta2 and epsilon
     */
    public record Muon(
        double momentum,
        boolean nesterov,
        int newtonSchulzSteps,
        double adamWLearningRate,
        double beta1,
        double beta2,
        double epsilon)
        implements Rule {
      @Override
      public String kind() {
        return "muon";
      }

      @Override
      public boolean looksAtWholeParameters() {
        return true;
      }
    }

    /** You et al., 2020. */
    public record Lamb(double beta1, double beta2, double epsilon) implements Rule {
      @Override
      public String kind() {
        return "lamb";
      }

      @Override
      public boolean looksAtWholeParameters() {
        return true;
      }
    }

    /** What the network itself says; the other keys are then not the plan's. */
    public record OfNetwork() implements Rule {
      @Override
      public String kind() {
        return "network";
      }
    }
  }

  /**
   * The learning rate over the steps; {@link LearningRateSchedule} has the formulas.
   *
   * @param decaySteps the number of the step at which the minimum is reached, the warm-up included
   */
  public record Schedule(
      ScheduleKind kind, long warmupSteps, long decaySteps, double minimumLearningRate) {}

  public enum ScheduleKind implements Choice {
    CONSTANT,
    LINEAR,
    COSINE
  }

  /**
   * How many ranks each axis of the mesh has.
   *
   * @param data -1: whatever the world leaves over
   * @param expert a divisor of the data axis; it adds no ranks
   * @param order of the axes, inner (neighbouring ranks) to outer; all four
   * @param schedule a pipeline schedule's name or the path of a schedule table
   */
  public record Parallel(
      int data,
      int tensor,
      int pipeline,
      int context,
      int expert,
      List<Axis> order,
      boolean sequenceParallel,
      String schedule,
      int virtualStages) {

    public Parallel {
      order = List.copyOf(order);
    }

    /** The ranks that work on the same sequences together. */
    public long ranksPerSequence() {
      return Math.multiplyExact((long) tensor, Math.multiplyExact((long) pipeline, context));
    }

    /**
     * The ranks that the plan asks for; empty where the data axis takes what the world leaves over.
     */
    public OptionalInt worldSize() {
      return data < 0
          ? OptionalInt.empty()
          : OptionalInt.of(Math.toIntExact(Math.multiplyExact(data, ranksPerSequence())));
    }

    /** How the ranks of a world of this size are arranged. */
    public DeviceMesh mesh(int worldSize) {
      return new DeviceMesh(
          meshOrder(),
          Map.of(
              dev.phalanx.parallelism.mesh.Axis.TENSOR, tensor,
              dev.phalanx.parallelism.mesh.Axis.CONTEXT, context,
              dev.phalanx.parallelism.mesh.Axis.PIPELINE, pipeline,
              dev.phalanx.parallelism.mesh.Axis.EXPERT, expert,
              dev.phalanx.parallelism.mesh.Axis.DATA, dataSize(worldSize) / expert));
    }

    /** The axes of the mesh, the expert axis within the data axis. */
    private List<dev.phalanx.parallelism.mesh.Axis> meshOrder() {
      return order.stream()
          .flatMap(
              axis ->
                  axis == Axis.DATA
                      ? Stream.of(
                          dev.phalanx.parallelism.mesh.Axis.EXPERT,
                          dev.phalanx.parallelism.mesh.Axis.DATA)
                      : Stream.of(dev.phalanx.parallelism.mesh.Axis.valueOf(axis.name())))
          .toList();
    }

    /** Whether each rank holds the whole model. */
    public boolean isModelWhole() {
      return tensor == 1 && pipeline == 1 && expert == 1;
    }

    /** Copies of the model in a world of this size: so many ranks hold the same part of it. */
    public int copies(int worldSize) {
      return Math.multiplyExact(dataSize(worldSize) / expert, context);
    }

    /** How many ranks divide each batch in a world of this size, those of the expert axis too. */
    public int dataSize(int worldSize) {
      return data > 0 ? data : Math.toIntExact(worldSize / ranksPerSequence());
    }
  }

  /** The axes of the mesh that have ranks of their own. */
  public enum Axis implements Choice {
    TENSOR,
    CONTEXT,
    DATA,
    PIPELINE
  }

  /**
   * What data-parallel ranks divide among themselves (Rajbhandari et al., 2020).
   *
   * @param zero 0 nothing, 1 optimizer state, 2 also gradients, 3 also parameters
   * @param shardSize ranks that share one copy; -1: all that have the same part of the model
   * @param reshardAfterForward whether the other ranks' parts of parameters are released between a
   *     layer's forward and its backward pass; stage 3 only
   */
  public record Sharding(int zero, int shardSize, Offload offload, boolean reshardAfterForward) {}

  public enum Offload implements Choice {
    NONE,
    CPU
  }

  /**
   * How ranks exchange tensors.
   *
   * @param bucketMb mebibytes of gradients that are reduced together
   * @param overlap whether gradients are reduced while backward goes on
   * @param timeoutSeconds the longest wait for another rank
   * @param streams TCP connections between two ranks
   */
  public record Communication(
      Transport transport,
      Algorithm algorithm,
      double bucketMb,
      boolean overlap,
      double timeoutSeconds,
      int streams,
      Compression compression) {

    public long bucketBytes() {
      return (long) (bucketMb * (1 << 20));
    }

    public Duration timeout() {
      return Duration.ofNanos((long) (timeoutSeconds * 1e9));
    }
  }

  public enum Transport implements Choice {
    AUTO,
    INPROCESS,
    SHM,
    TCP,
    GRPC,
    NCCL
  }

  public enum Algorithm implements Choice {
    AUTO,
    RING,
    TREE,
    HALVING_DOUBLING,
    DIRECT,
    HIERARCHICAL
  }

  /** What is done to gradients before they are sent. */
  public sealed interface Compression {
    /** Whether steps hand on to each other what they leave out of gradients. */
    default boolean hasErrorFeedback() {
      return !(this instanceof None || this instanceof Fp16 || this instanceof Bf16);
    }

    record None() implements Compression {}

    record Fp16() implements Compression {}

    record Bf16() implements Compression {}

    /** One scale for each block of elements. */
    record Int8(int block) implements Compression {}

    /**
     * The largest elements only; what is left out is added to the next step's gradient.
     *
     * @param density the part of the elements that a rank sends
     * @param warmupSteps in which the density falls to that
     * @param momentum of momentum correction, for SGD without momentum of its own; 0: none
     */
    record TopK(double density, long warmupSteps, double momentum) implements Compression {}

    /**
     * Elements beyond a threshold only, as its value with their sign.
     *
     * @param threshold the first one, where it adapts
     * @param minimumDensity the part of the elements below which it falls; 0: it is fixed
     * @param maximumDensity the part above which it rises; 0: it is fixed
     */
    record Threshold(double threshold, double minimumDensity, double maximumDensity)
        implements Compression {
      /** Whether it follows the part of the elements that is sent. */
      public boolean isAdaptive() {
        return maximumDensity > 0;
      }
    }

    /** Signs, after a warm-up without compression. */
    record OneBit(long warmupSteps) implements Compression {}

    /** A low-rank approximation (Vogels et al., 2019). */
    record PowerSgd(int rank, long warmupSteps) implements Compression {}
  }

  /**
   * @param dir a directory of its own, or a store's address
   * @param every steps between checkpoints; 0: only when the job ends or is stopped
   * @param keep newest checkpoints that stay
   * @param async whether training goes on while a checkpoint is written
   */
  public record Checkpoint(String dir, long every, int keep, boolean async) {}

  /**
   * @param every steps between two lines of progress
   * @param tensorboard directory for event files
   * @param report file for the JSON report
   */
  public record Log(long every, Optional<String> tensorboard, Optional<String> report) {}

  /**
   * @param every steps between evaluations; 0: none, and nothing is held out
   * @param batches global batches of held-out sequences, at most; 0: all there are
   * @param fraction of the data that is held out, its end; in (0, 1). Not looked at where the data
   *     names files to test with
   */
  public record Evaluation(long every, long batches, double fraction) {}
}
