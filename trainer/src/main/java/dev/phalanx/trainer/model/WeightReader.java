package dev.phalanx.trainer.model;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.safetensors.SafetensorsDirectory;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Finds our parameters among a Hugging Face directory's tensors: other names, parts to be packed,
 * transposed matrices.
 */
final class WeightReader {
  private final SafetensorsDirectory files;
  private final Engine engine;
  private final TransformerConfig config;
  private final String prefix;

  WeightReader(SafetensorsDirectory files, Engine engine, TransformerConfig config) {
    this.files = files;
    this.engine = engine;
    this.config = config;
    this.prefix =
        switch (config.family()) {
          case GPT2 -> files.names().contains("transformer.wte.weight") ? "transformer." : "";
          case LLAMA -> files.names().contains("model.embed_tokens.weight") ? "model." : "";
        };
  }

  /**
   * @param destination of the whole parameter's shape
   */
  void read(Parameter parameter, Tensor destination) throws IOException {
    String name = parameter.name();
    long[] shape = parameter.partition().whole().toArray();
    switch (config.family()) {
      case GPT2 -> {
        if (name.equals("wpe")) {
          readPositions(gpt2Name(name), destination);
          return;
        }
        boolean isTransposed = name.startsWith("h.") && shape.length == 2;
        read(gpt2Name(name), isTransposed ? destination.transpose(0, 1) : destination);
      }
      case LLAMA -> {
        long start = 0;
        for (Part part : llamaParts(name, shape[0])) {
          read(part.name(), destination.slice(0, start, part.rows()));
          start += part.rows();
        }
      }
    }
  }

  /** A model may be trained on shorter sequences than it knows positions for. */
  private void readPositions(String name, Tensor destination) throws IOException {
    Shape found = files.shape(name);
    Shape expected = Shape.of(config.sequence(), config.hidden());
    if (!found.equals(expected)) {
      throw new BadCheckpointException(
          "Tensor "
              + name
              + " has the shape "
              + found
              + " and config.json says "
              + expected
              + ". They belong to different models.");
    }
    try (Arena staging = new Arena(engine, destination.device());
        Tensor all = staging.allocate(destination.dtype(), found);
        Tensor used = all.slice(0, 0, destination.size(0))) {
      read(name, all);
      engine.copy(used, destination);
      engine.synchronize(destination.device());
    }
  }

  /** A header that was tampered with may call the bytes of a weight whole numbers. */
  private void read(String name, Tensor destination) throws IOException {
    if (!files.isFloatingPoint(name)) {
      throw new BadCheckpointException(
          "Tensor "
              + name
              + " holds whole numbers where the model wants weights. The file is damaged or of"
              + " another model; copy it again.");
    }
    files.read(name, destination, engine);
  }

  private record Part(String name, long rows) {}

  private String gpt2Name(String name) {
    if (name.equals("head.weight")) {
      return "lm_head.weight";
    }
    if (name.equals("wte") || name.equals("wpe")) {
      return prefix + name + ".weight";
    }
    return prefix
        + name.replace("lnf.", "ln_f.")
            .replace(".ln1.", ".ln_1.")
            .replace(".ln2.", ".ln_2.")
            .replace(".qkv.", ".attn.c_attn.")
            .replace(".proj.", ".attn.c_proj.")
            .replace(".fc.", ".mlp.c_fc.")
            .replace(".out.", ".mlp.c_proj.");
  }

  /** Mixtral's names. */
  private Optional<List<Part>> expertParts(String name, String layer) {
    if (config.mixture().isEmpty()) {
      return Optional.empty();
    }
    int experts = config.mixture().get().experts();
    String mixture = layer + "block_sparse_moe.";
    if (name.endsWith(".router.weight")) {
      return Optional.of(List.of(new Part(mixture + "gate.weight", experts)));
    }
    boolean isWidening = name.endsWith(".experts.fc.weight");
    if (!isWidening && !name.endsWith(".experts.out.weight")) {
      return Optional.empty();
    }
    List<Part> parts = new ArrayList<>();
    for (int expert = 0; expert < experts; expert++) {
      String one = mixture + "experts." + expert + ".";
      if (isWidening) {
        parts.add(new Part(one + "w1.weight", config.feedForward()));
        parts.add(new Part(one + "w3.weight", config.feedForward()));
      } else {
        parts.add(new Part(one + "w2.weight", config.hidden()));
      }
    }
    return Optional.of(parts);
  }

  private List<Part> llamaParts(String name, long rows) {
    switch (name) {
      case "head.weight":
        return List.of(new Part("lm_head.weight", rows));
      case "wte":
        return List.of(new Part(prefix + "embed_tokens.weight", rows));
      case "lnf.weight":
        return List.of(new Part(prefix + "norm.weight", rows));
      default:
        break;
    }
    String[] words = name.split("\\.", -1); // h . number . part . weight
    String layer = prefix + "layers." + words[1] + ".";
    Optional<List<Part>> ofExperts = expertParts(name, layer);
    if (ofExperts.isPresent()) {
      return ofExperts.get();
    }
    long keyRows = config.keyValueHeads() * config.headSize();
    return switch (words[2]) {
      case "ln1" -> List.of(new Part(layer + "input_layernorm.weight", rows));
      case "ln2" -> List.of(new Part(layer + "post_attention_layernorm.weight", rows));
      case "qkv" ->
          List.of(
              new Part(layer + "self_attn.q_proj.weight", config.hidden()),
              new Part(layer + "self_attn.k_proj.weight", keyRows),
              new Part(layer + "self_attn.v_proj.weight", keyRows));
      case "proj" -> List.of(new Part(layer + "self_attn.o_proj.weight", rows));
      case "fc" ->
          List.of(
              new Part(layer + "mlp.gate_proj.weight", config.feedForward()),
              new Part(layer + "mlp.up_proj.weight", config.feedForward()));
      case "out" -> List.of(new Part(layer + "mlp.down_proj.weight", rows));
      default -> throw new IllegalArgumentException("Parameter " + name + " is not one of a Llama");
    };
  }
}
