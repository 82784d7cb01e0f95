package dev.phalanx.integration;

import dev.phalanx.tensor.Sample;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Ranks that divide each matrix, and what lies between them, give what one rank gives. */
@Timeout(300)
final class TensorParallelTest {
  private static final int STEPS = 50;

  @TempDir private Path folder = Path.of("");

  @Sample(3)
  @ParameterizedTest(
      name = "{0}, tensor {1}, data {2}, micro-batches of {3}, zero {4}, sequence parallel {5}")
  @CsvSource({
    "PLAIN, 2, 1, 8, 0, false",
    "CLIP, 2, 1, 4, 0, true",
    "CLIP_COSINE, 4, 1, 2, 0, false",
    "CLIP_COSINE, 4, 1, 8, 0, true",
    "CLIP_COSINE, 2, 2, 2, 0, false",
    "CLIP_COSINE, 2, 2, 4, 1, true",
    "CLIP_COSINE, 2, 2, 1, 2, false",
    "CLIP_COSINE, 2, 2, 2, 3, true",
    "CLIP_COSINE, 4, 2, 4, 3, false",
    "CLIP_COSINE, 4, 2, 1, 1, true"
  })
  void theReferenceCurve(
      Reference.Curve curve, int tensor, int data, int micro, int zero, boolean sequenceParallel)
      throws Exception {
    String more =
        """
        parallel: {tensor: %d, sequence_parallel: %b}
        sharding: {zero: %d}
        communication: {bucket_mb: 0.05}
        """
            .formatted(tensor, sequenceParallel, zero);
    int steps = tensor * data == 8 ? STEPS / 2 : STEPS;
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(curve, steps, micro, more), tensor * data, folder, Optional.empty());

    Curves.of(run).assertFollows(Curves.of(curve).upTo(steps));
  }

  /** Neither the vocabulary nor anything else but heads and ffn_hidden need be a multiple. */
  private static final String MODEL =
      """
      model: {family: %s, layers: 3, hidden: 48, heads: 4, kv_heads: %d, ffn_hidden: 96,
              sequence: 12, vocab: %d, dropout: %s, tied_embeddings: %b, recompute: %s}
      data: {kind: reference}
      optimizer: {kind: %s, lr: 1.0e-3, clip_grad_norm: 0.5}
      steps: 12
      threads: 1
      """;

  @Tag("long")
  @ParameterizedTest(
      name =
          "{0}, {1} key heads, {2} words, dropout {3}, tied {4}, recompute {5}, {6}, tensor {7}, "
              + "sequence parallel {8}, order {9}")
  @CsvSource({
    "gpt2, 4, 250, 0.0, true, none, adamw, 4, false, tensor;data",
    "gpt2, 4, 250, 0.1, true, none, adamw, 4, true, data;tensor",
    "gpt2, 4, 7, 0.1, false, full, sgd, 2, false, data;tensor",
    "gpt2, 4, 5, 0.2, true, full, adamw, 4, true, tensor;data",
    "llama, 4, 250, 0.0, false, none, adamw, 4, false, tensor;data",
    "llama, 2, 250, 0.1, true, none, adamw, 4, true, tensor;data",
    "llama, 1, 101, 0.1, false, full, adamw, 4, false, data;tensor",
    "llama, 1, 101, 0.0, true, none, sgd, 2, true, tensor;data",
    "llama, 2, 64, 0.1, false, none, adamw, 2, true, data;tensor"
  })
  void whatOneRankGives(
      String family,
      int keyHeads,
      int vocabulary,
      String dropout,
      boolean tied,
      String recompute,
      String optimizer,
      int tensor,
      boolean sequenceParallel,
      String order)
      throws Exception {
    String model =
        MODEL.formatted(family, keyHeads, vocabulary, dropout, tied, recompute, optimizer);
    Curves one =
        Curves.of(
            InProcessJob.run(
                model + "batch: {global: 8, micro: 8}\n", 1, folder, Optional.empty()));
    String layout =
        """
        batch: {global: 8, micro: 2}
        parallel: {tensor: %d, sequence_parallel: %b, order: [%s, context, pipeline]}
        """
            .formatted(tensor, sequenceParallel, order.replace(';', ','));
    Curves divided =
        Curves.of(InProcessJob.run(model + layout, 2 * tensor, folder, Optional.empty()));

    divided.assertFollows(one);
  }

  /** Logits are taken in chunks of rows, and all ranks must cut alike whatever rows are theirs. */
  @Test
  void aVocabularyWhosePartsDifferIsCutAlikeByAllRanks() throws Exception {
    String model =
        """
        model: {family: gpt2, layers: 1, hidden: 8, heads: 2, sequence: 512, vocab: 6283}
        data: {kind: reference}
        batch: {global: 3, micro: 3}
        optimizer: {kind: sgd, lr: 1.0e-2}
        steps: 2
        threads: 1
        """;
    Curves one = Curves.of(InProcessJob.run(model, 1, folder, Optional.empty()));
    Curves two =
        Curves.of(InProcessJob.run(model + "parallel: {tensor: 2}\n", 2, folder, Optional.empty()));

    two.assertFollows(one);
  }
}
