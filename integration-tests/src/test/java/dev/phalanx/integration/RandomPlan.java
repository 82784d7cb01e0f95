package dev.phalanx.integration;

import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.JobConfigValidator;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * A small model and what it is trained with, by chance, and layouts for it: sizes that nothing
 * divides, axes in any order, every schedule and stage of sharding, experts. The same from the same
 * seed.
 */
final class RandomPlan {
  private static final int MOST_RANKS = 8;
  private static final int MOST_TRIES = 1000;

  /** A plan but for its steps, and the ranks that it is for. */
  record Layout(int ranks, String yaml) {}

  private final Random random;
  private final String whatIsTrained; // all of a plan but its layout
  private final int batch;
  private final int experts;

  RandomPlan(long seed) {
    this.random = new Random(seed);
    this.batch = among(6, 8, 9, 12);
    this.experts = among(0, 0, 0, 2, 4);
    this.whatIsTrained =
        """
        %s
        data: {kind: reference}
        optimizer: %s
        threads: 1
        """
            .formatted(model(), optimizer());
  }

  private String model() {
    boolean isLlama = random.nextBoolean();
    int heads = among(1, 2, 3, 4, 4, 6);
    int hidden = heads * among(4, 6, 8, 10);
    String family = "gpt2";
    if (isLlama) {
      family = "llama, kv_heads: " + among(divisors(heads));
    }
    return """
    model: {family: %s, layers: %d, hidden: %d, heads: %d, ffn_hidden: %d, sequence: %d, vocab: %d,
            tied_embeddings: %b, recompute: %s%s}\
    """
        .formatted(
            family,
            1 + random.nextInt(6),
            hidden,
            heads,
            among(12, 24, 36, 60) + (random.nextInt(4) == 0 ? random.nextInt(5) : 0),
            among(12, 16, 20, 24, 30),
            among(50, 97, 250, 256),
            random.nextBoolean(),
            among("none", "full"),
            experts == 0
                ? ""
                : ", experts: {count: %d, top_k: %d}".formatted(experts, among(1, 2)));
  }

  private String optimizer() {
    String clipping = random.nextBoolean() ? ", clip_grad_norm: 0.5" : "";
    return among(
            "{kind: adamw, lr: 2.0e-3, eps: 1.0e-6%s}",
            "{kind: sgd, lr: 0.1, momentum: 0.9%s}",
            "{kind: lamb, lr: 2.0e-3, eps: 1.0e-6%s}",
            "{kind: muon, lr: 2.0e-3%s}")
        .formatted(clipping);
  }

  /** The whole batch at once. */
  Layout onOneRank() {
    return new Layout(
        1, whatIsTrained + "batch: {global: %d, micro: %d}\n".formatted(batch, batch));
  }

  /** Another one at each call, of two ranks or more. */
  Layout next() {
    for (int tries = 0; tries < MOST_TRIES; tries++) {
      int tensor = among(1, 1, 2, 3, 4);
      int pipeline = among(1, 1, 2, 3, 4);
      int context = among(1, 1, 1, 2, 3);
      int data = among(1, 2, 2, 3, 4);
      int ranks = tensor * pipeline * context * data;
      if (ranks > 1 && ranks <= MOST_RANKS) {
        Layout layout = new Layout(ranks, yaml(tensor, pipeline, context, data));
        if (isValid(layout)) {
          return layout;
        }
      }
    }
    throw new IllegalStateException("No layout suits\n" + whatIsTrained);
  }

  private static boolean isValid(Layout layout) {
    return JobConfigValidator.problemsOf(
            JobConfigParser.parse("plan.yaml", layout.yaml() + "steps: 1\n"), layout.ranks())
        .isEmpty();
  }

  private String yaml(int tensor, int pipeline, int context, int data) {
    int expert = experts == 0 ? 1 : among(divisors(data));
    return whatIsTrained
        + """
        batch: {global: %d, micro: %d, uneven: %b}
        parallel: {tensor: %d, pipeline: %d, context: %d, data: %d, order: %s, sequence_parallel: %b%s%s}
        sharding: {%s}
        communication: {bucket_mb: %s, overlap: %b, algorithm: %s}
        """
            .formatted(
                batch,
                1 + random.nextInt(3),
                random.nextInt(3) == 0,
                tensor,
                pipeline,
                context,
                data,
                order(),
                random.nextBoolean(),
                experts == 0 ? "" : ", expert: " + expert,
                pipeline == 1 ? "" : ", schedule: " + schedule(),
                sharding(data / expert * context),
                among("0.005", "0.05", "25"),
                random.nextBoolean(),
                among("auto", "ring", "tree", "halving_doubling", "direct"));
  }

  private List<String> order() {
    List<String> axes = new ArrayList<>(List.of("tensor", "context", "data", "pipeline"));
    if (random.nextBoolean()) {
      Collections.shuffle(axes, random);
    }
    return axes;
  }

  private String schedule() {
    return among("gpipe", "1f1b", "interleaved, virtual_stages: 2", "zb-h1", "zb-h2");
  }

  private String sharding(int copies) {
    int stage = random.nextInt(4);
    if (stage == 0) {
      return "zero: 0";
    }
    int shardSize = random.nextBoolean() ? -1 : among(divisors(copies));
    return "zero: %d, shard_size: %d, offload: %s%s"
        .formatted(
            stage,
            shardSize,
            among("none", "none", "cpu"),
            stage == 3 ? ", reshard_after_forward: " + random.nextBoolean() : "");
  }

  private static Integer[] divisors(int number) {
    return IntStream.rangeClosed(1, number)
        .filter(divisor -> number % divisor == 0)
        .boxed()
        .toArray(Integer[]::new);
  }

  @SafeVarargs
  private <T> T among(T... choices) {
    return choices[random.nextInt(choices.length)];
  }
}
