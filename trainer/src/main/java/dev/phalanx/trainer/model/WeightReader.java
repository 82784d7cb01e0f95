package dev.phalanx.trainer.model;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.safetensors.SafetensorsDirectory;
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

  /** As a {@link dev.phalanx.sharding.ParameterSource}. */
  void read(Parameter parameter, long first, Tensor rows) throws IOException {
    Shape whole = parameter.partition().whole();
    switch (config.family()) {
      case GPT2 -> readGpt2(parameter.name(), whole, first, rows);
      case LLAMA -> readLlama(parameter.name(), whole, first, rows);
    }
  }

  private void readGpt2(String name, Shape whole, long first, Tensor rows) throws IOException {
    String stored = floatingPoint(gpt2Name(name));
    if (name.startsWith("h.") && whole.rank() == 2) {
      Shape turned = Shape.of(whole.size(1), whole.size(0));
      try (Tensor columns = rows.transpose(0, 1)) {
        files.readColumns(stored, turned, first, columns, engine);
      }
    } else if (name.equals("wpe")) { // of which a model on shorter sequences has the first ones
      files.readRows(stored, Shape.of(config.sequence(), config.hidden()), first, rows, engine);
    } else {
      files.readRows(stored, whole, first, rows, engine);
    }
  }

  private void readLlama(String name, Shape whole, long first, Tensor rows) throws IOException {
    long start = 0; // of the part
    for (Part part : llamaParts(name, whole.size(0))) {
      long from = Math.max(first, start);
      long to = Math.min(first + rows.size(0), start + part.rows());
      if (from < to) {
        Shape ofPart =
            whole.rank() < 2 ? Shape.of(part.rows()) : Shape.of(part.rows(), whole.size(1));
        try (Tensor inPart = rows.slice(0, from - first, to - from)) {
          files.readRows(floatingPoint(part.name()), ofPart, from - start, inPart, engine);
        }
      }
      start += part.rows();
    }
  }

  /** A header that was tampered with may call the bytes of a weight whole numbers. */
  private String floatingPoint(String name) {
    if (!files.isFloatingPoint(name)) {
      throw new BadCheckpointException(
          "Tensor "
              + name
              + " holds whole numbers where the model wants weights. The file is damaged or of"
              + " another model; copy it again.");
    }
    return name;
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
