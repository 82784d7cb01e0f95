package dev.phalanx.trainer;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.model.Family;
import dev.phalanx.trainer.model.HuggingFaceDirectory;
import dev.phalanx.trainer.model.Initialization;
import dev.phalanx.trainer.model.ModelRanks;
import dev.phalanx.trainer.model.RotaryScaling;
import dev.phalanx.trainer.model.StageLayers;
import dev.phalanx.trainer.model.Transformer;
import dev.phalanx.trainer.model.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * From the plan's model section to a model without memory.
 *
 * @param config sizes, complete
 * @param weights where the weights come from, if not from formulas
 */
record ModelSetup(
    TransformerConfig config,
    Initialization initialization,
    Optional<HuggingFaceDirectory> weights) {

  private static final double DEFAULT_EPSILON = 1e-5;
  private static final double DEFAULT_ROTARY_BASE = 10000;

  /**
   * @param dataVocabulary what the data's tokens need, taken where the plan gives no vocabulary
   * @throws BadCheckpointException where a weights directory contradicts the plan
   */
  static ModelSetup of(JobConfig job, Path baseDirectory, long dataVocabulary) throws IOException {
    JobConfig.Transformer model = job.transformer();
    if (model.init() instanceof JobConfig.Init.HuggingFace init) {
      HuggingFaceDirectory directory =
          HuggingFaceDirectory.open(baseDirectory.resolve(init.path()));
      TransformerConfig config = merge(model, directory.config(), init.path());
      if (config.mixture().isEmpty() && job.parallel().expert() > 1) {
        throw new BadCheckpointException(
            "parallel.expert is %d in the plan, but the model in %s has no experts. Write 1."
                .formatted(job.parallel().expert(), init.path()));
      }
      return new ModelSetup(config, new Initialization.Empty(), Optional.of(directory));
    }
    TransformerConfig config = sizes(model, model.vocab() > 0 ? model.vocab() : dataVocabulary);
    Initialization initialization =
        model.init() instanceof JobConfig.Init.Reference reference
            ? new Initialization.Reference(reference.seed())
            : new Initialization.Normal(
                job.seed(), ((JobConfig.Init.Normal) model.init()).std(), model.layers());
    return new ModelSetup(config, initialization, Optional.empty());
  }

  /** The same model, whose routers have no losses of their own. */
  ModelSetup withoutRouterLosses() {
    return new ModelSetup(config.withoutRouterLosses(), initialization, weights);
  }

  /** One stage of it, as far as one of the ranks that divide it holds it. */
  Transformer model(ModelRanks ranks, StageLayers stage) {
    return new Transformer(config, initialization, ranks, stage);
  }

  /** The plan's own sizes, which must be complete but for the vocabulary. */
  static TransformerConfig sizes(JobConfig.Transformer model, long vocabulary) {
    return new TransformerConfig(
        family(model),
        model.layers(),
        model.hidden(),
        model.heads(),
        model.kvHeads(),
        model.ffnHidden(),
        model.sequence(),
        vocabulary,
        model.dropout(),
        model.tiedEmbeddings().orElse(true),
        model.normEpsilon().orElse(DEFAULT_EPSILON),
        model.ropeTheta().orElse(DEFAULT_ROTARY_BASE),
        model.ropeScaling().map(ModelSetup::scaling).orElseGet(RotaryScaling.None::new),
        isRecomputed(model),
        model
            .experts()
            .map(
                experts ->
                    new Mixture(
                        experts.count(), experts.topK(), experts.balance(), experts.zLoss())));
  }

  /** The plan's model section with every size filled in. */
  JobConfig.Transformer resolved(JobConfig.Transformer plan) {
    return new JobConfig.Transformer(
        plan.family(),
        config.layers(),
        config.hidden(),
        Math.toIntExact(config.heads()),
        Math.toIntExact(config.keyValueHeads()),
        config.feedForward(),
        config.sequence(),
        config.vocabulary(),
        config.dropout(),
        Optional.of(config.isTied()),
        Optional.of(config.normEpsilon()),
        config.family() == Family.LLAMA ? Optional.of(config.rotaryBase()) : Optional.empty(),
        config.family() == Family.LLAMA
            ? Optional.of(scaling(config.rotaryScaling()))
            : Optional.empty(),
        plan.recompute(),
        config
            .mixture()
            .map(
                mixture ->
                    new JobConfig.Experts(
                        mixture.experts(), mixture.perToken(), mixture.balance(), mixture.zLoss())),
        plan.init());
  }

  private static Family family(JobConfig.Transformer model) {
    return switch (model.family()) {
      case GPT2 -> Family.GPT2;
      case LLAMA -> Family.LLAMA;
      case DEEPLEARNING4J -> throw new IllegalArgumentException("a network, no transformer");
    };
  }

  private static RotaryScaling scaling(JobConfig.RopeScaling plan) {
    if (plan instanceof JobConfig.RopeScaling.Llama3 llama3) {
      return new RotaryScaling.Llama3(
          llama3.factor(),
          llama3.lowFrequencyFactor(),
          llama3.highFrequencyFactor(),
          llama3.originalSequence());
    }
    return new RotaryScaling.None();
  }

  private static JobConfig.RopeScaling scaling(RotaryScaling model) {
    if (model instanceof RotaryScaling.Llama3 llama3) {
      return new JobConfig.RopeScaling.Llama3(
          llama3.factor(),
          llama3.lowFrequencyFactor(),
          llama3.highFrequencyFactor(),
          llama3.originalSequence());
    }
    return new JobConfig.RopeScaling.None();
  }

  private static boolean isRecomputed(JobConfig.Transformer model) {
    return model.recompute() == JobConfig.Recompute.FULL;
  }

  /**
   * The directory's sizes, with the plan's sequence where it is shorter; sizes in the plan must
   * agree.
   */
  private static TransformerConfig merge(
      JobConfig.Transformer plan, TransformerConfig found, String path) {
    if (family(plan) != found.family()) {
      throw disagreement(path, "family", plan.family().label(), found.family().name());
    }
    requireEqual(path, "layers", plan.layers(), found.layers());
    requireEqual(path, "hidden", plan.hidden(), found.hidden());
    requireEqual(path, "heads", plan.heads(), found.heads());
    requireEqual(path, "kv_heads", plan.kvHeads(), found.keyValueHeads());
    requireEqual(path, "ffn_hidden", plan.ffnHidden(), found.feedForward());
    requireEqual(path, "vocab", plan.vocab(), found.vocabulary());
    requireEqual(path, "tied_embeddings", plan.tiedEmbeddings(), found.isTied());
    requireEqual(path, "norm_eps", plan.normEpsilon(), found.normEpsilon());
    requireEqual(path, "rope_theta", plan.ropeTheta(), found.rotaryBase());
    Optional<RotaryScaling> plannedScaling = plan.ropeScaling().map(ModelSetup::scaling);
    requireEqual(path, "rope_scaling", plannedScaling, found.rotaryScaling());
    if (plan.sequence() > found.sequence()) {
      throw new BadCheckpointException(
          "model.sequence is %d in the plan, but the model in %s knows %d positions. Write at most %d."
              .formatted(plan.sequence(), path, found.sequence(), found.sequence()));
    }
    return new TransformerConfig(
        found.family(),
        found.layers(),
        found.hidden(),
        found.heads(),
        found.keyValueHeads(),
        found.feedForward(),
        plan.sequence() > 0 ? plan.sequence() : found.sequence(),
        found.vocabulary(),
        plan.dropout(),
        found.isTied(),
        found.normEpsilon(),
        found.rotaryBase(),
        found.rotaryScaling(),
        isRecomputed(plan),
        mixture(plan, found, path));
  }

  /** The directory's experts, with the plan's losses of their routers. */
  private static Optional<Mixture> mixture(
      JobConfig.Transformer plan, TransformerConfig found, String path) {
    if (plan.experts().isEmpty()) {
      return found.mixture();
    }
    if (found.mixture().isEmpty()) {
      throw new BadCheckpointException(
          "model.experts is in the plan, but the model in %s has none. Leave model.experts out of the plan."
              .formatted(path));
    }
    JobConfig.Experts experts = plan.experts().get();
    Mixture there = found.mixture().get();
    requireEqual(path, "experts.count", experts.count(), there.experts());
    requireEqual(path, "experts.top_k", experts.topK(), there.perToken());
    return Optional.of(
        new Mixture(there.experts(), there.perToken(), experts.balance(), experts.zLoss()));
  }

  private static void requireEqual(String path, String key, long planned, long found) {
    if (planned > 0 && planned != found) {
      throw disagreement(path, key, Long.toString(planned), Long.toString(found));
    }
  }

  private static <T> void requireEqual(String path, String key, Optional<T> planned, T found) {
    if (planned.isPresent() && !planned.get().equals(found)) {
      throw disagreement(path, key, planned.get().toString(), found.toString());
    }
  }

  private static BadCheckpointException disagreement(
      String path, String key, String planned, String found) {
    return new BadCheckpointException(
        "model."
            + key
            + " is "
            + planned
            + " in the plan but "
            + found
            + " in "
            + path
            + "/config.json. Leave model."
            + key
            + " out of the plan, or write "
            + found
            + ".");
  }
}
