package dev.phalanx.trainer.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.safetensors.SafetensorsDirectory;
import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.sharding.ParameterSource;
import dev.phalanx.tensor.Engine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A model in Hugging Face's layout: {@code config.json} beside {@code model.safetensors}, or beside
 * shards with their index. GPT-2, Llama and Mixtral.
 */
public final class HuggingFaceDirectory {
  private final Path directory;
  private final JsonNode json;
  private final TransformerConfig config;

  private HuggingFaceDirectory(Path directory, JsonNode json) {
    this.directory = directory;
    this.json = json;
    this.config = read();
  }

  /**
   * Reads the configuration and the headers of the weights' files, not the weights.
   *
   * @throws IOException where {@code config.json} cannot be read or there are no weights
   * @throws BadCheckpointException where it is no JSON, describes a model that is not supported, or
   *     one with more parameters than the files hold
   */
  public static HuggingFaceDirectory open(Path directory) throws IOException {
    Path file = directory.resolve("config.json");
    if (!Files.isRegularFile(file)) {
      throw new IOException(
          "There is no file "
              + file
              + "; name a directory that holds config.json and safetensors.");
    }
    JsonNode json;
    try {
      json = new ObjectMapper().readTree(file.toFile());
    } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
      throw new BadCheckpointException(
          file + " is no valid JSON: " + e.getOriginalMessage() + ". Download it again.", e);
    }
    try {
      HuggingFaceDirectory opened = new HuggingFaceDirectory(directory, json);
      opened.requireEnoughWeights();
      return opened;
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw new BadCheckpointException(
          file + " describes a model that cannot be: " + e.getMessage() + ". Download it again.",
          e);
    }
  }

  public TransformerConfig config() {
    return config;
  }

  /** Before anybody takes memory for what a damaged configuration asks for. */
  private void requireEnoughWeights() throws IOException {
    long wanted = config.parameterCount();
    long found = 0;
    try (SafetensorsDirectory files = SafetensorsDirectory.open(directory)) {
      for (String name : files.names()) {
        found = Math.addExact(found, files.shape(name).elementCount());
      }
    }
    if (found < wanted) {
      throw new BadCheckpointException(
          directory.resolve("config.json")
              + " describes a model of "
              + wanted
              + " parameters, but the files beside it hold only "
              + found
              + ". They belong to different models, or one is damaged; download them again.");
    }
  }

  private TransformerConfig read() {
    String type = json.path("model_type").asText("");
    return switch (type) {
      case "gpt2" -> gpt2();
      case "llama" -> llama(Optional.empty());
      case "mixtral" -> llama(Optional.of(mixture()));
      default ->
          throw unsupported("model_type is '" + type + "'; gpt2, llama and mixtral are supported");
    };
  }

  private TransformerConfig gpt2() {
    String activation = json.path("activation_function").asText("gelu_new");
    if (!activation.equals("gelu_new") && !activation.equals("gelu_pytorch_tanh")) {
      throw unsupported("activation_function is '" + activation + "'; gelu_new is supported");
    }
    if (json.path("scale_attn_by_inverse_layer_idx").asBoolean(false)
        || !json.path("scale_attn_weights").asBoolean(true)) {
      throw unsupported("its attention is scaled otherwise than by the root of the head size");
    }
    long hidden = number("n_embd");
    long heads = number("n_head");
    return new TransformerConfig(
        Family.GPT2,
        Math.toIntExact(number("n_layer")),
        hidden,
        heads,
        heads,
        json.path("n_inner").isNumber() ? number("n_inner") : 4 * hidden,
        number("n_positions"),
        number("vocab_size"),
        0,
        json.path("tie_word_embeddings").asBoolean(true),
        json.path("layer_norm_epsilon").asDouble(1e-5),
        10000,
        new RotaryScaling.None(),
        false,
        Optional.empty());
  }

  private Mixture mixture() {
    if (json.path("sliding_window").isNumber()) {
      throw unsupported("its attention sees only a window of the sequence");
    }
    int perToken = Math.toIntExact(number("num_experts_per_tok"));
    if (json.path("norm_topk_prob").asBoolean(true) != perToken > 1) {
      throw unsupported(
          "its router's gates "
              + (perToken > 1
                  ? "are not made to add up to 1 (norm_topk_prob is false)"
                  : "are all 1, with one expert a token and norm_topk_prob not false"));
    }
    return new Mixture(
        Math.toIntExact(number("num_local_experts")), perToken, Mixture.DEFAULT_BALANCE, 0);
  }

  private TransformerConfig llama(Optional<Mixture> mixture) {
    if (!json.path("hidden_act").asText("silu").equals("silu")) {
      throw unsupported(
          "hidden_act is '" + json.path("hidden_act").asText() + "'; silu is supported");
    }
    if (json.path("attention_bias").asBoolean(false) || json.path("mlp_bias").asBoolean(false)) {
      throw unsupported("its projections have biases");
    }
    long hidden = number("hidden_size");
    long heads = number("num_attention_heads");
    if (json.path("head_dim").isNumber() && number("head_dim") != hidden / heads) {
      throw unsupported("head_dim is not hidden_size / num_attention_heads");
    }
    JsonNode parameters = json.path("rope_parameters");
    double base = json.path("rope_theta").asDouble(parameters.path("rope_theta").asDouble(10000));
    return new TransformerConfig(
        Family.LLAMA,
        Math.toIntExact(number("num_hidden_layers")),
        hidden,
        heads,
        json.path("num_key_value_heads").isNumber() ? number("num_key_value_heads") : heads,
        number("intermediate_size"),
        number("max_position_embeddings"),
        number("vocab_size"),
        0,
        json.path("tie_word_embeddings").asBoolean(false),
        json.path("rms_norm_eps").asDouble(1e-6),
        base,
        rotaryScaling(),
        false,
        mixture);
  }

  /** Transformers 5 writes rope_parameters, earlier versions rope_scaling. */
  private RotaryScaling rotaryScaling() {
    for (String key : List.of("rope_scaling", "rope_parameters")) {
      JsonNode scaling = json.path(key);
      String kind = scaling.path("rope_type").asText(scaling.path("type").asText("default"));
      if (kind.equals("llama3")) {
        JsonNode original = scaling.path("original_max_position_embeddings");
        return new RotaryScaling.Llama3(
            real(scaling, key, "factor"),
            real(scaling, key, "low_freq_factor"),
            real(scaling, key, "high_freq_factor"),
            original.canConvertToLong() ? original.asLong() : number("max_position_embeddings"));
      }
      if (!kind.equals("default")) {
        throw unsupported(
            key + " is of type '" + kind + "'; plain rotary positions and llama3 are supported");
      }
    }
    return new RotaryScaling.None();
  }

  private double real(JsonNode section, String name, String key) {
    JsonNode value = section.path(key);
    if (!value.isNumber()) {
      throw unsupported(
          name + "." + key + " is " + (value.isMissingNode() ? "missing" : value.toString()));
    }
    return value.asDouble();
  }

  private long number(String key) {
    JsonNode value = json.path(key);
    if (!value.canConvertToLong() || value.asLong() < 1) {
      throw unsupported(key + " is " + (value.isMissingNode() ? "missing" : value.toString()));
    }
    return value.asLong();
  }

  private BadCheckpointException unsupported(String what) {
    return new BadCheckpointException(
        directory.resolve("config.json")
            + " describes a model that cannot be loaded: "
            + what
            + ".");
  }

  /** Memory that reads its parameters from a source. */
  @FunctionalInterface
  public interface Target {
    void load(ParameterSource source) throws IOException;
  }

  /**
   * Has a model's memory read all weights.
   *
   * @throws BadCheckpointException where a tensor is missing or has another shape than the
   *     configuration says
   */
  public void load(Target memory, Engine engine) throws IOException {
    try (SafetensorsDirectory files = SafetensorsDirectory.open(directory)) {
      WeightReader reader = new WeightReader(files, engine, config);
      memory.load(reader::read);
    }
  }
}
