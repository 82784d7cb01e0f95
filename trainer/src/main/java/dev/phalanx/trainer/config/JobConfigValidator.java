package dev.phalanx.trainer.config;

import dev.phalanx.parallelism.pipeline.PipelineSchedules;
import dev.phalanx.trainer.config.JobConfig.Batch;
import dev.phalanx.trainer.config.JobConfig.Compression;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.Experts;
import dev.phalanx.trainer.config.JobConfig.Family;
import dev.phalanx.trainer.config.JobConfig.Init;
import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Parallel;
import dev.phalanx.trainer.config.JobConfig.RopeScaling;
import dev.phalanx.trainer.config.JobConfig.Schedule;
import dev.phalanx.trainer.config.JobConfig.ScheduleKind;
import dev.phalanx.trainer.config.JobConfig.Sharding;
import dev.phalanx.trainer.config.JobConfig.Transformer;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

/**
 * Checks what depends on several keys or on the number of ranks, before a process is started. Sizes
 * that the plan leaves open are not looked at; run it again when they are known.
 */
public final class JobConfigValidator {
  private final JobConfig config;
  private final Positions positions;
  private final int worldSize;
  private final Problems problems = new Problems();

  private JobConfigValidator(JobConfig config, Positions positions, int worldSize) {
    this.config = config;
    this.positions = positions;
    this.worldSize = worldSize;
  }

  /**
   * Checks a plan.
   *
   * @param worldSize ranks that will run it
   * @throws ConfigurationException with every mistake, each at the line of its key
   */
  public static void validate(ParsedPlan plan, int worldSize) {
    List<Problem> problems = problemsOf(plan, worldSize);
    if (!problems.isEmpty()) {
      throw new ConfigurationException(problems);
    }
  }

  /**
   * Checks a plan whose text is not at hand, as a worker has it.
   *
   * @throws ConfigurationException with every mistake, without lines
   */
  public static void validate(JobConfig config, int worldSize) {
    validate(new ParsedPlan(config, Positions.unknown(config.name())), worldSize);
  }

  /** Every mistake, in the order of the file; empty if the plan can run. */
  public static List<Problem> problemsOf(ParsedPlan plan, int worldSize) {
    if (worldSize < 1) {
      throw new IllegalArgumentException("a job has at least one rank, not " + worldSize);
    }
    JobConfigValidator validator =
        new JobConfigValidator(plan.config(), plan.positions(), worldSize);
    validator.check();
    return validator.problems.inOrder();
  }

  private void check() {
    new FeatureAvailability(problems, positions).check(config);
    checkSchedule();
    checkNesterov();
    checkCompressedOptimizer();
    checkResharding();
    boolean fitsWorld = checkWorld();
    if (config.model() instanceof Transformer) {
      checkTransformer(fitsWorld);
    } else {
      new NetworkChecks(config, problems, positions).check();
    }
  }

  private void checkTransformer(boolean fitsWorld) {
    checkKinds();
    checkWidths();
    checkFamily();
    checkRopeScaling();
    checkReferenceInit();
    checkVocabulary();
    checkEvaluation();
    checkTensorSizes(fitsWorld);
    checkChunks();
    checkStages();
    checkExperts();
    if (fitsWorld) {
      checkBatch();
      if (checkExpertAxis()) {
        checkShards();
        checkCompressedExperts();
        if (config.parallel().copies(worldSize) > 1) { // else nothing is compressed
          checkCompressedPrecision();
          checkCompressedStage();
          checkCompressedCopies();
        }
      }
    }
  }

  /** Samples and updates of networks that bring their own. */
  private void checkKinds() {
    String family = config.model().family().label();
    if (config.data() instanceof Data.Samples) {
      report(
          "data.kind",
          "family " + family + " learns from tokens, and this data has samples with labels",
          "write 'kind: text' or 'kind: tokens'");
    }
    if (config.optimizer().algorithm() instanceof Optimizer.OfNetwork) {
      report(
          "optimizer.kind",
          "family " + family + " has no optimizer of its own",
          "write for example 'kind: adamw'");
    }
  }

  private void checkWidths() {
    Transformer model = config.transformer();
    long hidden = model.hidden();
    int heads = model.heads();
    if (hidden > 0 && heads > 0 && hidden % heads != 0) {
      report(
          "model.heads",
          "hidden " + hidden + " is not a multiple of heads " + heads,
          "write a divisor of " + hidden + ", as in 'heads: " + divisorNear(hidden, heads) + "'");
    }
    int kvHeads = model.kvHeads();
    if (heads > 0 && kvHeads > 0 && heads % kvHeads != 0) {
      report(
          "model.kv_heads",
          "heads " + heads + " is not a multiple of kv_heads " + kvHeads,
          "write a divisor of "
              + heads
              + ", as in 'kv_heads: "
              + divisorNear(heads, kvHeads)
              + "'");
    }
  }

  private void checkFamily() {
    Transformer model = config.transformer();
    if (model.family() == Family.GPT2 && model.kvHeads() != model.heads() && model.kvHeads() > 0) {
      report(
          "model.kv_heads",
          "family gpt2 has as many key and value heads as heads, "
              + model.heads()
              + ", found "
              + model.kvHeads(),
          "leave kv_heads out or write 'family: llama'");
    }
    boolean hasHeadSize = model.heads() > 0 && model.hidden() % model.heads() == 0;
    if (model.family() == Family.LLAMA && hasHeadSize) {
      long headSize = model.hidden() / model.heads();
      if (headSize % 2 != 0) {
        report(
            "model.heads",
            "rotary positions turn pairs of numbers, but a head has "
                + headSize
                + " (hidden "
                + model.hidden()
                + " / heads "
                + model.heads()
                + ")",
            "choose hidden and heads such that hidden / heads is even");
      }
    }
  }

  private void checkRopeScaling() {
    RopeScaling scaling = config.transformer().ropeScaling().orElseGet(RopeScaling.None::new);
    if (scaling instanceof RopeScaling.Llama3 llama3
        && llama3.highFrequencyFactor() <= llama3.lowFrequencyFactor()) {
      report(
          "model.rope_scaling.high_freq_factor",
          "high_freq_factor "
              + Numbers.text(llama3.highFrequencyFactor())
              + " is not more than low_freq_factor "
              + Numbers.text(llama3.lowFrequencyFactor()),
          "write for example 'low_freq_factor: 1.0' and 'high_freq_factor: 4.0'");
    }
  }

  /** The reference's formulas know one form of the model. */
  private void checkReferenceInit() {
    Transformer model = config.transformer();
    if (!(model.init() instanceof Init.Reference)) {
      return;
    }
    if (model.family() != Family.GPT2) {
      report(
          "model.family",
          "init reference has weights for family gpt2 only",
          "write 'family: gpt2'");
    }
    if (!model.tiedEmbeddings().orElse(true)) {
      report(
          "model.tied_embeddings",
          "init reference has no weights for an output layer of its own",
          "write 'tied_embeddings: true'");
    }
    if (model.ffnHidden() != 4 * model.hidden()) {
      report(
          "model.ffn_hidden",
          "init reference has weights for ffn_hidden = 4 hidden = "
              + 4 * model.hidden()
              + ", found "
              + model.ffnHidden(),
          "leave ffn_hidden out");
    }
  }

  private void checkVocabulary() {
    Data data = config.data();
    long needed = data.tokenizerName().map(KnownVocabulary::sizeOf).orElse(0L);
    long vocab = config.transformer().vocab();
    if (vocab > 0 && vocab < needed) {
      report(
          "model.vocab",
          "tokenizer "
              + data.tokenizerName().orElseThrow()
              + " has "
              + needed
              + " tokens, but the model's vocabulary only "
              + vocab,
          "write 'vocab: " + needed + "' or leave it out");
    }
  }

  private void checkEvaluation() {
    if (config.evaluation().every() > 0 && config.data() instanceof Data.Reference) {
      report(
          "evaluation.every",
          "data reference is made by a formula and has no part to hold out",
          "write 'every: 0' or leave evaluation out");
    }
  }

  private void checkSchedule() {
    Optimizer optimizer = config.optimizer();
    Schedule schedule = optimizer.schedule();
    if (schedule.kind() == ScheduleKind.CONSTANT) {
      return;
    }
    if (schedule.warmupSteps() > schedule.decaySteps()) {
      report(
          "optimizer.schedule.warmup_steps",
          "warmup_steps "
              + schedule.warmupSteps()
              + " is more than decay_steps "
              + schedule.decaySteps()
              + ", the step at which min_lr is reached, warm-up included (steps if left out)",
          "write at most " + schedule.decaySteps());
    }
    if (schedule.minimumLearningRate() > optimizer.learningRate()) {
      report(
          "optimizer.schedule.min_lr",
          "min_lr "
              + Numbers.text(schedule.minimumLearningRate())
              + " is more than lr "
              + Numbers.text(optimizer.learningRate()),
          "write at most " + Numbers.text(optimizer.learningRate()));
    }
  }

  private void checkNesterov() {
    if (config.optimizer().algorithm() instanceof Optimizer.Sgd sgd
        && sgd.nesterov()
        && sgd.momentum() == 0) {
      report(
          "optimizer.nesterov",
          "nesterov needs momentum, which is 0",
          "write for example 'momentum: 0.9'");
    }
  }

  /** Codecs that take over a part of the optimizer. */
  private void checkCompressedOptimizer() {
    Optimizer.Rule algorithm = config.optimizer().algorithm();
    if (config.communication().compression() instanceof Compression.OneBit oneBit) {
      if (algorithm instanceof Optimizer.AdamW && oneBit.warmupSteps() == 0) {
        report(
            "communication.compression.warmup_steps",
            "onebit with adamw keeps the variance that the warm-up has found, and warmup_steps is"
                + " 0",
            "write at least 1, a tenth of steps as a rule");
      } else if (!(algorithm instanceof Optimizer.AdamW || algorithm instanceof Optimizer.Sgd)) {
        report(
            "communication.compression.kind",
            "onebit is for optimizers adamw and sgd, found " + algorithm.kind(),
            "write another kind, as in 'kind: powersgd'");
      }
    }
    if (config.communication().compression() instanceof Compression.TopK topK
        && topK.momentum() > 0
        && !(algorithm instanceof Optimizer.Sgd sgd && sgd.momentum() == 0)) {
      report(
          "communication.compression.momentum",
          "the momentum of topk takes the place of the optimizer's: it wants sgd with momentum 0",
          "write 'momentum: 0', or under optimizer 'kind: sgd' and 'momentum: 0'");
    }
  }

  /** What is left out of one step's gradients is added to the next one's: of the same scale. */
  private void checkCompressedPrecision() {
    Compression compression = config.communication().compression();
    if (config.lossScaling().isPresent() && compression.hasErrorFeedback()) {
      report(
          "communication.compression.kind",
          "with precision fp16 gradients are those of a scaled loss and at times not finite, and"
              + " compression "
              + CompressionBinder.kindOf(compression).label()
              + " would carry over what it leaves out of them to the next scale",
          "write 'kind: fp16', 'kind: bf16' or 'kind: none' here, or 'precision: bf16'");
    }
  }

  /** Residuals need gradients that a rank holds whole, or parts of copies. */
  private void checkCompressedStage() {
    Compression compression = config.communication().compression();
    Sharding sharding = config.sharding();
    boolean hasCopies =
        sharding.shardSize() > 0 && sharding.shardSize() < config.parallel().copies(worldSize);
    if (compression instanceof Compression.None || sharding.zero() < 2 || hasCopies) {
      return;
    }
    report(
        "communication.compression.kind",
        "compression "
            + CompressionBinder.kindOf(compression).label()
            + " keeps what it leaves out of whole gradients, which take the memory that zero "
            + sharding.zero()
            + " saves",
        "write 'kind: none', 'zero: 1', or a shard_size below the "
            + copyAxes()
            + " ranks: then what is sent between copies is compressed");
  }

  /** Along which axes ranks hold the same part of the model. */
  private String copyAxes() {
    String axes = config.parallel().context() > 1 ? "data- and context-parallel" : "data-parallel";
    return config.parallel().expert() > 1 ? axes + " (data / expert)" : axes;
  }

  /** Codecs work on what ranks with the same experts send each other. */
  private void checkCompressedExperts() {
    Compression compression = config.communication().compression();
    int expert = config.parallel().expert();
    if (compression instanceof Compression.None
        || expert == 1
        || config.parallel().copies(worldSize) > 1) {
      return;
    }
    report(
        "communication.compression.kind",
        "with expert "
            + expert
            + " each of the data-parallel ranks has other experts, and what they send each other"
            + " is not compressed",
        "write 'kind: none', or a smaller 'expert' under parallel");
  }

  /** What ranks divide among them must divide. */
  private void checkTensorSizes(boolean fitsWorld) {
    Transformer model = config.transformer();
    int tensor = config.parallel().tensor();
    int context = config.parallel().context();
    if (tensor == 1) {
      return;
    }
    requireDivides("heads", model.heads(), tensor);
    requireDivides("ffn_hidden", model.ffnHidden(), tensor);
    int keyValueHeads = model.kvHeads();
    if (keyValueHeads > 0 && keyValueHeads % tensor != 0 && tensor % keyValueHeads != 0) {
      report(
          "parallel.tensor",
          "neither does tensor "
              + tensor
              + " divide kv_heads "
              + keyValueHeads
              + " nor the other way round",
          "write 'tensor: " + divisorNear(keyValueHeads, tensor) + "'");
    }
    if (model.vocab() > 0 && model.vocab() < tensor) {
      report(
          "parallel.tensor",
          "a vocabulary of " + model.vocab() + " has no row for each of " + tensor + " ranks",
          "write at most 'tensor: " + model.vocab() + "'");
    }
    boolean isEvaluated = config.evaluation().every() > 0;
    boolean hasSmaller = // micro-batches
        isEvaluated || (fitsWorld && config.batch().isUneven() && !doesBatchDivide());
    if (config.parallel().sequenceParallel()
        && hasSmaller
        && model.sequence() > 0
        && model.sequence() / context % tensor != 0) {
      report(
          "parallel.sequence_parallel",
          (isEvaluated ? "an evaluation" : "a step whose batch does not divide evenly")
              + " may end with a single sequence of "
              + model.sequence() / context
              + " tokens, which tensor "
              + tensor
              + " does not divide",
          "write 'sequence_parallel: false' or "
              + (isEvaluated
                  ? "leave evaluation out"
                  : "a 'global' that is a multiple of " + samplesAtOnce()));
      return;
    }
    long tokens = config.batch().micro() * (model.sequence() / context);
    if (config.parallel().sequenceParallel() && tokens > 0 && tokens % tensor != 0) {
      report(
          "parallel.sequence_parallel",
          "micro "
              + config.batch().micro()
              + " × sequence "
              + model.sequence()
              + (context > 1 ? " / context " + context : "")
              + " = "
              + tokens
              + " tokens of a micro-batch, which tensor "
              + tensor
              + " does not divide",
          "write 'sequence_parallel: false' or a 'micro' that is a multiple of " + tensor);
    }
  }

  private boolean doesBatchDivide() {
    return config.batch().global() % samplesAtOnce() == 0;
  }

  /** Of all ranks' whole micro-batches. */
  private long samplesAtOnce() {
    return config.batch().micro() * config.parallel().dataSize(worldSize);
  }

  private void requireDivides(String key, long size, int tensor) {
    if (size > 0 && size % tensor != 0) {
      report(
          "parallel.tensor",
          "tensor " + tensor + " does not divide " + key + " " + size,
          "write 'tensor: " + divisorNear(size, tensor) + "'");
    }
  }

  /** Context-parallel ranks have two chunks of each sequence. */
  private void checkChunks() {
    int context = config.parallel().context();
    long sequence = config.transformer().sequence();
    if (context > 1 && sequence > 0 && sequence % (2L * context) != 0) {
      report(
          "parallel.context",
          "a sequence of "
              + sequence
              + " tokens is not two equal chunks for each of context "
              + context
              + " ranks",
          "write a 'sequence' that is a multiple of " + 2L * context);
    }
  }

  /** Of schedules with a name; a table in a file is looked at when it is read. */
  private void checkStages() {
    Parallel parallel = config.parallel();
    boolean hasName = PipelineSchedules.NAMES.contains(parallel.schedule());
    if (!hasName && parallel.virtualStages() > 1) {
      report(
          "parallel.virtual_stages",
          "the table " + parallel.schedule() + " says itself which stages are on a rank",
          "leave virtual_stages out");
    }
    if (hasName && parallel.virtualStages() > 1 && !parallel.schedule().equals("interleaved")) {
      report(
          "parallel.virtual_stages",
          "schedule "
              + parallel.schedule()
              + " has one stage on each rank, not "
              + parallel.virtualStages(),
          "write 'schedule: interleaved' or 'virtual_stages: 1'");
    }
    if (parallel.virtualStages() > 1 && parallel.pipeline() == 1) {
      report(
          "parallel.virtual_stages",
          "virtual_stages " + parallel.virtualStages() + " divide a pipeline of one rank",
          "write 'virtual_stages: 1'");
    }
    long stages = (long) parallel.pipeline() * parallel.virtualStages();
    int layers = config.transformer().layers();
    if (hasName && layers > 0 && layers < stages) {
      report(
          "parallel.pipeline",
          "pipeline "
              + parallel.pipeline()
              + " × virtual_stages "
              + parallel.virtualStages()
              + " = "
              + stages
              + " stages of at least a layer each, and the model has "
              + layers,
          "write at most 'pipeline: "
              + Math.max(1, layers / parallel.virtualStages())
              + "'"
              + (parallel.virtualStages() > 1 ? fewerStages(layers / parallel.pipeline()) : ""));
    }
  }

  /**
   * @param most stages of a rank that there are layers for
   */
  private static String fewerStages(int most) {
    if (most == 0) {
      return "";
    }
    return most == 1 ? " or 'schedule: 1f1b'" : " or 'virtual_stages: " + most + "'";
  }

  private void checkExperts() {
    int expert = config.parallel().expert();
    Optional<Experts> experts = config.transformer().experts();
    boolean isFromDirectory = config.transformer().init() instanceof Init.HuggingFace;
    if (experts.isEmpty()) {
      if (expert > 1 && !isFromDirectory) {
        report(
            "parallel.expert",
            "expert " + expert + " divides the experts of each layer, and the model has none",
            "write 'expert: 1', or under model for example 'experts: {count: 8}'");
      }
      return;
    }
    int count = experts.get().count();
    if (count > 0 && experts.get().topK() > count) {
      report(
          "model.experts.top_k",
          "each token goes to top_k " + experts.get().topK() + " of " + count + " experts",
          "write at most " + count);
    }
    if (count > 0 && count % expert != 0) {
      report(
          "parallel.expert",
          "expert " + expert + " does not divide experts.count " + count,
          expertSuggestion(count));
    }
    if (config.transformer().init() instanceof Init.Reference) {
      report(
          "model.experts",
          "init reference has no weights for experts",
          "leave experts out, or init");
    }
  }

  /**
   * The ranks that divide experts are some of those that divide the batch.
   *
   * @return whether each has as many others with the same experts
   */
  private boolean checkExpertAxis() {
    int dataSize = config.parallel().dataSize(worldSize);
    int expert = config.parallel().expert();
    if (dataSize % expert == 0) {
      return true;
    }
    Optional<Experts> experts = config.transformer().experts();
    if (experts.isPresent() || config.transformer().init() instanceof Init.HuggingFace) {
      report(
          "parallel.expert",
          "expert "
              + expert
              + " does not divide the "
              + dataSize
              + " data-parallel ranks, among which experts are divided",
          expertSuggestion(experts.map(Experts::count).orElse(0)));
    }
    return false;
  }

  /**
   * The largest size that divides both.
   *
   * @param count of experts; 0: not known yet
   */
  private String expertSuggestion(int count) {
    int dataSize = Math.max(1, config.parallel().dataSize(worldSize));
    long size = Math.min(config.parallel().expert(), dataSize);
    while (dataSize % size != 0 || count % size != 0) {
      size--;
    }
    return "write 'expert: " + size + "'";
  }

  /**
   * Codecs that look at several parameters at once would round the copies that tensor-parallel
   * ranks have of a norm each in its own way, for what lies beside them differs.
   */
  private void checkCompressedCopies() {
    Parallel parallel = config.parallel();
    Compression compression = config.communication().compression();
    boolean looksAtNeighbours =
        compression instanceof Compression.Int8
            || compression instanceof Compression.TopK
            || compression instanceof Compression.OneBit
            || (compression instanceof Compression.Threshold threshold && threshold.isAdaptive());
    if (looksAtNeighbours && parallel.tensor() > 1 && !parallel.sequenceParallel()) {
      report(
          "communication.compression.kind",
          CompressionBinder.kindOf(compression).label()
              + (compression instanceof Compression.Threshold ? " with a range of densities" : "")
              + " would let the copies that tensor "
              + parallel.tensor()
              + " ranks have of norms and biases drift apart",
          "write 'sequence_parallel: true' under parallel, or another kind, as in 'kind:"
              + " powersgd'");
    }
  }

  /** Whether the mesh fits the world, so that the size of the data axis is known. */
  private boolean checkWorld() {
    Parallel parallel = config.parallel();
    long replica = parallel.ranksPerSequence();
    if (parallel.data() < 0) {
      if (worldSize % replica == 0) {
        return true;
      }
      report(
          "parallel",
          replicaEquation(parallel)
              + " = "
              + replica
              + " ranks for each part of the batch, which does not divide the "
              + worldSize
              + " ranks of the job",
          "start a multiple of " + replica + " workers or write smaller sizes");
      return false;
    }
    if (replica * parallel.data() == worldSize) {
      return true;
    }
    boolean dividesWorld = worldSize % replica == 0;
    report(
        "parallel.data",
        "data "
            + parallel.data()
            + " × "
            + replicaEquation(parallel)
            + " = "
            + replica * parallel.data()
            + " ranks, but the job has "
            + worldSize,
        "start "
            + replica * parallel.data()
            + " workers"
            + (dividesWorld ? " or write 'data: " + worldSize / replica + "' or 'data: -1'" : ""));
    return false;
  }

  private static String replicaEquation(Parallel parallel) {
    return "tensor "
        + parallel.tensor()
        + " × pipeline "
        + parallel.pipeline()
        + " × context "
        + parallel.context();
  }

  private void checkResharding() {
    int stage = config.sharding().zero();
    if (!config.sharding().reshardAfterForward() && stage != 3) {
      report(
          "sharding.reshard_after_forward",
          "reshard_after_forward is false, but parameters are whole all the time while zero is "
              + stage,
          "write 'zero: 3' or leave reshard_after_forward out");
    }
  }

  private void checkShards() {
    int shardSize = config.sharding().shardSize();
    if (shardSize < 0) {
      return;
    }
    if (config.sharding().zero() == 0) {
      report(
          "sharding.shard_size",
          "shard_size " + shardSize + " has nothing to divide while zero is 0",
          "write 'zero: 1', 2 or 3, or leave shard_size out");
      return;
    }
    long copies = config.parallel().copies(worldSize);
    if (copies % shardSize != 0) {
      report(
          "sharding.shard_size",
          "shard_size "
              + shardSize
              + " does not divide the "
              + copies
              + " "
              + copyAxes()
              + " ranks",
          "write "
              + LongStream.rangeClosed(1, copies)
                  .filter(size -> copies % size == 0)
                  .mapToObj(Long::toString)
                  .collect(Collectors.joining(", "))
              + " or -1");
    }
  }

  private void checkBatch() {
    if (config.batch().isUneven()) {
      checkShares();
    } else if (!doesBatchDivide()) {
      Batch batch = config.batch();
      report(
          "batch.global",
          "global "
              + batch.global()
              + " must be micro "
              + batch.micro()
              + " × accumulation × data-parallel ranks "
              + config.parallel().dataSize(worldSize)
              + " with a whole accumulation, but "
              + batch.global()
              + " / "
              + samplesAtOnce()
              + " is "
              + Numbers.text(Math.round(1000.0 * batch.global() / samplesAtOnce()) / 1000.0),
          batchSuggestion(batch, config.parallel().dataSize(worldSize), samplesAtOnce()));
    }
  }

  /** Unequal ones, but all have some. */
  private void checkShares() {
    Batch batch = config.batch();
    long dataSize = config.parallel().dataSize(worldSize);
    long largestShare = largestShare(dataSize);
    if (batch.global() < dataSize) {
      report(
          "batch.global",
          "global "
              + batch.global()
              + " has no sample for each of "
              + dataSize
              + " data-parallel ranks",
          "write 'global: " + dataSize + "' or more, or start fewer workers");
    } else if (batch.micro() > largestShare) {
      report(
          "batch.micro",
          "micro "
              + batch.micro()
              + " is more than a rank has: global "
              + batch.global()
              + " among "
              + dataSize
              + " data-parallel ranks is at most "
              + largestShare
              + " for each",
          "write 'micro: " + largestShare + "' or 'global: " + batch.micro() * dataSize + "'");
    }
  }

  /** Samples of a data-parallel rank, at most. */
  private long largestShare(long dataSize) {
    return (config.batch().global() + dataSize - 1) / dataSize;
  }

  private String batchSuggestion(Batch batch, long dataSize, long perAccumulation) {
    long below = batch.global() / perAccumulation * perAccumulation;
    String globals =
        LongStream.of(below, below + perAccumulation)
            .filter(global -> global > 0)
            .mapToObj(Long::toString)
            .collect(Collectors.joining(" or "));
    String suggestion = "write 'global: " + globals + "'";
    if (batch.global() % dataSize == 0) {
      long perRank = batch.global() / dataSize;
      suggestion += " or 'micro: " + divisorNear(perRank, batch.micro()) + "'";
    }
    if (batch.global() >= dataSize && batch.micro() <= largestShare(dataSize)) {
      suggestion += " or, for shares that differ by a sample, 'uneven: true'";
    }
    return suggestion;
  }

  /** The largest divisor that is at most {@code wanted}, at least 1. */
  private static long divisorNear(long number, long wanted) {
    long divisor = Math.min(wanted, number);
    while (number % divisor != 0) {
      divisor--;
    }
    return divisor;
  }

  private void report(String keyPath, String message, String suggestion) {
    problems.add(positions.of(keyPath), keyPath, message, suggestion);
  }
}
