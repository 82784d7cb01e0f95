package dev.phalanx.integration;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.stream.StreamSupport;

/** The numeric reference: three curves of a model that is given by formulas. */
final class Reference {
  private static final String RESOURCE = "/reference.json";

  private Reference() {}

  /** The runs of the reference. */
  enum Curve {
    PLAIN("plain", "schedule: {kind: constant}"),
    CLIP("clip", "clip_grad_norm: 0.5\n  schedule: {kind: constant}"),
    CLIP_COSINE(
        "clip_cosine",
        "clip_grad_norm: 0.5\n"
            + "  schedule: {kind: cosine, warmup_steps: 10, decay_steps: 50, min_lr: 1.0e-4}");

    private final String key;
    private final String optimizerKeys;

    Curve(String key, String optimizerKeys) {
      this.key = key;
      this.optimizerKeys = optimizerKeys;
    }

    double[] losses() {
      return numbers("loss");
    }

    double[] gradientNorms() {
      return numbers("grad_norm");
    }

    private double[] numbers(String what) {
      JsonNode list = read().path("runs").path(key).path(what);
      return StreamSupport.stream(list.spliterator(), false)
          .mapToDouble(JsonNode::doubleValue)
          .toArray();
    }
  }

  private static JsonNode read() {
    try (InputStream stream = Reference.class.getResourceAsStream(RESOURCE)) {
      return new ObjectMapper().readTree(stream);
    } catch (IOException e) {
      throw new IllegalStateException("The resource " + RESOURCE + " cannot be read", e);
    }
  }

  /**
   * A plan file for a curve.
   *
   * @param more further sections, in YAML
   */
  static String plan(Curve curve, int steps, int microBatch, String more) {
    return """
    name: parity
    model:
      family: gpt2
      layers: 2
      hidden: 64
      heads: 4
      sequence: 32
      vocab: 256
      init: {kind: reference, seed: 20240601}
    data: {kind: reference, seed: 20240602}
    batch: {global: 8, micro: %d, uneven: true}
    optimizer:
      kind: adamw
      lr: 1.0e-3
      betas: [0.9, 0.95]
      eps: 1.0e-8
      weight_decay: 0.1
      %s
    steps: %d
    threads: 1
    """
            .formatted(microBatch, curve.optimizerKeys, steps)
        + more;
  }
}
