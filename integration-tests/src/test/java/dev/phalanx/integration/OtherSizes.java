package dev.phalanx.integration;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * The reference model at sizes and seeds of its own, with the curves that a float64 implementation
 * of the same formulas in PyTorch gives.
 */
final class OtherSizes {
  private static final String RESOURCE = "/reference-other-sizes.json";

  private final JsonNode json;

  private OtherSizes(JsonNode json) {
    this.json = json;
  }

  /** How a batch is divided. */
  record Layout(int ranks, int microBatch) {}

  static List<OtherSizes> read() {
    try (InputStream stream = OtherSizes.class.getResourceAsStream(RESOURCE)) {
      return new ObjectMapper().readTree(stream).valueStream().map(OtherSizes::new).toList();
    } catch (IOException e) {
      throw new IllegalStateException("The resource " + RESOURCE + " cannot be read", e);
    }
  }

  /** One rank with the whole batch, and every division of it among 2 to 6 ranks. */
  List<Layout> layouts() {
    int batch = json.path("batch").intValue();
    Stream<Layout> divided =
        IntStream.rangeClosed(2, 6)
            .filter(ranks -> batch % ranks == 0)
            .boxed()
            .flatMap(
                ranks ->
                    IntStream.rangeClosed(1, batch / ranks)
                        .filter(micro -> batch / ranks % micro == 0)
                        .mapToObj(micro -> new Layout(ranks, micro)));
    return Stream.concat(Stream.of(new Layout(1, batch)), divided).toList();
  }

  double[] losses() {
    return numbers("loss");
  }

  double[] gradientNorms() {
    return numbers("grad_norm");
  }

  private double[] numbers(String key) {
    return StreamSupport.stream(json.path(key).spliterator(), false)
        .mapToDouble(JsonNode::doubleValue)
        .toArray();
  }

  String plan(int microBatch) {
    JsonNode schedule = json.path("schedule");
    return """
    model:
      family: gpt2
      layers: %s
      hidden: %s
      heads: %s
      sequence: %s
      vocab: %s
      init: {kind: reference, seed: %s}
    data: {kind: reference, seed: %s}
    batch: {global: %s, micro: %d}
    optimizer:
      kind: adamw
      lr: %s
      betas: [0.9, 0.95]
      eps: 1.0e-8
      weight_decay: 0.1
    %s  schedule: %s
    steps: %s
    threads: 1
    communication: {bucket_mb: 0.02}
    """
        .formatted(
            json.path("layers"),
            json.path("hidden"),
            json.path("heads"),
            json.path("sequence"),
            json.path("vocab"),
            json.path("model_seed"),
            json.path("data_seed"),
            json.path("batch"),
            microBatch,
            json.path("lr"),
            json.path("clip").isNull() ? "" : "  clip_grad_norm: " + json.path("clip") + "\n",
            schedule.isNull()
                ? "{kind: constant}"
                : "{kind: cosine, warmup_steps: %s, decay_steps: %s, min_lr: %s}"
                    .formatted(schedule.get(0), schedule.get(1), schedule.get(2)),
            json.path("steps"));
  }

  @Override
  public String toString() {
    return "%s layers of %s, %s tokens"
        .formatted(json.path("layers"), json.path("hidden"), json.path("vocab"));
  }
}
