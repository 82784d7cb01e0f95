package dev.phalanx.trainer.config;

import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.Experts;
import dev.phalanx.trainer.config.JobConfig.Family;
import dev.phalanx.trainer.config.JobConfig.Init;
import dev.phalanx.trainer.config.JobConfig.Model;
import dev.phalanx.trainer.config.JobConfig.Network;
import dev.phalanx.trainer.config.JobConfig.Recompute;
import dev.phalanx.trainer.config.JobConfig.RopeScaling;
import dev.phalanx.trainer.config.JobConfig.Transformer;
import dev.phalanx.trainer.model.TransformerConfig;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** The section {@code model}. */
final class ModelBinder {
  private static final long REFERENCE_SEED = 20240601;
  private static final long REFERENCE_VOCAB = 256;
  private static final int LARGEST_COUNT = 1 << 20;
  private static final long DEFAULT_PER_TOKEN = 2;

  /** A size that the plan leaves open. */
  private static final long OPEN = 0;

  private ModelBinder() {}

  enum ScalingKind implements Choice {
    NONE,
    LLAMA3
  }

  enum InitKind implements Choice {
    NORMAL,
    REFERENCE,
    HF
  }

  /** Those of families whose models are built from sizes. */
  private static final List<String> TRANSFORMER_KEYS =
      List.of(
          "layers",
          "hidden",
          "heads",
          "kv_heads",
          "ffn_hidden",
          "sequence",
          "vocab",
          "dropout",
          "tied_embeddings",
          "norm_eps",
          "recompute",
          "experts",
          "init");

  static Model bind(Section section, Data data) {
    Family family =
        section.kind(
            "family",
            Family.class,
            Optional.empty(),
            Map.of(
                Family.GPT2, TRANSFORMER_KEYS,
                Family.LLAMA,
                    Stream.concat(
                            TRANSFORMER_KEYS.stream(), Stream.of("rope_theta", "rope_scaling"))
                        .toList(),
                Family.DEEPLEARNING4J, List.of("path")));
    Model model =
        family == Family.DEEPLEARNING4J
            ? new Network(family, section.text("path", "models/lenet.zip").required())
            : transformer(section, family, data);
    section.end();
    return model;
  }

  private static Transformer transformer(Section section, Family family, Data data) {
    Init init = init(section.section("init"));
    boolean isFromDirectory = init instanceof Init.HuggingFace;
    long layers = size(section, "layers", 4, isFromDirectory);
    long hidden = size(section, "hidden", 128, isFromDirectory);
    long heads = size(section, "heads", 4, isFromDirectory);
    return new Transformer(
        family,
        Math.toIntExact(layers),
        hidden,
        Math.toIntExact(heads),
        Math.toIntExact(
            section
                .count("kv_heads")
                .from(1)
                .to(LARGEST_COUNT)
                .optional()
                .orElse(isFromDirectory ? OPEN : heads)),
        section
            .count("ffn_hidden")
            .from(1)
            .to(TransformerConfig.LARGEST_SIZE)
            .optional()
            .orElse(isFromDirectory ? OPEN : 4 * hidden),
        size(section, "sequence", 128, isFromDirectory),
        section.count("vocab").from(1).optional().orElse(vocabOf(data, isFromDirectory)),
        section.real("dropout").from(0).below(1).orElse(0.0),
        choice(section.flag("tied_embeddings"), true, isFromDirectory),
        choice(section.real("norm_eps").above(0).below(1), 1e-5, isFromDirectory),
        family == Family.LLAMA
            ? choice(section.real("rope_theta").above(0), 10000.0, isFromDirectory)
            : Optional.empty(),
        family == Family.LLAMA ? ropeScaling(section, isFromDirectory) : Optional.empty(),
        section.choice("recompute", Recompute.class).orElse(Recompute.NONE),
        section.optionalSection("experts").map(experts -> experts(experts, isFromDirectory)),
        init);
  }

  private static Experts experts(Section section, boolean isFromDirectory) {
    long count = size(section, "count", 8, isFromDirectory);
    Experts experts =
        new Experts(
            Math.toIntExact(count),
            Math.toIntExact(
                section
                    .count("top_k")
                    .from(1)
                    .to(LARGEST_COUNT)
                    .optional()
                    .orElse(isFromDirectory ? OPEN : Math.min(count, DEFAULT_PER_TOKEN))),
            section.real("balance").from(0).orElse(Mixture.DEFAULT_BALANCE),
            section.real("z_loss").from(0).orElse(0.0));
    section.end();
    return experts;
  }

  private static long size(Section section, String name, long example, boolean isFromDirectory) {
    Key<Long> key = section.count(name).from(1).to(LARGEST_COUNT).example(example);
    return isFromDirectory ? key.optional().orElse(OPEN) : key.required();
  }

  /** What the directory decides where the plan does not. */
  private static <T> Optional<T> choice(Key<T> key, T defaultValue, boolean isFromDirectory) {
    return isFromDirectory ? key.optional() : Optional.of(key.orElse(defaultValue));
  }

  /** What a vocabulary that is left out follows from; open where a file has to be looked into. */
  private static long vocabOf(Data data, boolean isFromDirectory) {
    if (isFromDirectory) {
      return OPEN;
    }
    return data instanceof Data.Reference
        ? REFERENCE_VOCAB
        : data.tokenizerName().map(KnownVocabulary::sizeOf).orElse(OPEN);
  }

  private static Optional<RopeScaling> ropeScaling(Section model, boolean isFromDirectory) {
    Optional<Section> written = model.optionalSection("rope_scaling");
    if (written.isEmpty()) {
      return isFromDirectory ? Optional.empty() : Optional.of(new RopeScaling.None());
    }
    Section section = written.get();
    ScalingKind kind =
        section.kind(
            "kind",
            ScalingKind.class,
            Optional.empty(),
            Map.of(
                ScalingKind.LLAMA3,
                List.of("factor", "low_freq_factor", "high_freq_factor", "original_sequence")));
    RopeScaling scaling =
        switch (kind) {
          case NONE -> new RopeScaling.None();
          case LLAMA3 ->
              new RopeScaling.Llama3(
                  section.real("factor").from(1).example(8.0).required(),
                  section.real("low_freq_factor").above(0).orElse(1.0),
                  section.real("high_freq_factor").above(0).orElse(4.0),
                  section
                      .count("original_sequence")
                      .from(1)
                      .to(LARGEST_COUNT)
                      .example(8192L)
                      .required());
        };
    section.end();
    return Optional.of(scaling);
  }

  private static Init init(Section section) {
    InitKind kind =
        section.kind(
            "kind",
            InitKind.class,
            Optional.of(InitKind.NORMAL),
            Map.of(
                InitKind.NORMAL, List.of("std"),
                InitKind.REFERENCE, List.of("seed"),
                InitKind.HF, List.of("path")));
    Init init =
        switch (kind) {
          case NORMAL -> new Init.Normal(section.real("std").from(0).orElse(0.02));
          case REFERENCE -> new Init.Reference(section.whole("seed").orElse(REFERENCE_SEED));
          case HF -> new Init.HuggingFace(section.text("path", "models/gpt2").required());
        };
    section.end();
    return init;
  }
}
