package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.trainer.config.JobConfigParser;
import java.nio.file.Path;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Numbers of papers, found by rehearsing the models that they are about. */
@Timeout(120)
final class RehearsalTest {
  private static final long VOCABULARY = 51200;
  private static final long SEQUENCE = 2048;

  private static JobPlan plan(
      long layers, long hidden, long heads, int ranks, long batch, String more) throws Exception {
    String yaml =
        """
        model: {family: gpt2, layers: %d, hidden: %d, heads: %d, sequence: %d, vocab: %d%s
        data: {kind: reference}
        batch: {global: %d, micro: 1}
        optimizer: {kind: adamw, lr: 1.0e-4}
        steps: 1
        parallel: {data: %d}
        """
            .formatted(layers, hidden, heads, SEQUENCE, VOCABULARY, more, batch, ranks);
    return JobPlan.of(JobConfigParser.parse("plan.yaml", yaml), Path.of(""), ranks);
  }

  /**
   * Narayanan et al., 2021, "Efficient Large-Scale Language Model Training on GPU Clusters", table
   * 1 and equations 2 and 3: parameters, operations of a step with full recomputation, and the time
   * that follows from the speed that was reached.
   */
  @ParameterizedTest
  @CsvSource({
    "  1.7,  24,  2304,  24,   32,  512, 137,  3.52",
    "  7.5,  32,  4096,  36,  128,  512, 142,  3.69",
    " 39.1,  64,  8192,  48,  512, 1536, 138, 14.42",
    "145.6,  96, 12288,  80, 1536, 2304, 148, 24.84",
    "529.6, 128, 20480, 105, 2520, 2520, 163, 54.16"
  })
  void parametersAndOperationsAreMegatrons(
      double billions,
      long heads,
      long hidden,
      long layers,
      int devices,
      long batch,
      double teraflops,
      double seconds)
      throws Exception {
    // As many ranks as divide the batch: who runs a micro-batch changes nothing of the sum.
    int ranks = Math.toIntExact(batch / (batch % 3 == 0 ? 3 : 2));
    JobPlan plan = plan(layers, hidden, heads, ranks, batch, ", recompute: full}");
    Rehearsal first = plan.ranks().get(0).rehearsal();

    long perLayer = 12 * hidden * hidden + 13 * hidden;
    long lastNorm = 2 * hidden; // which the paper's formula leaves out
    assertThat(first.parameters())
        .isEqualTo(layers * perLayer + (VOCABULARY + SEQUENCE) * hidden + lastNorm);
    assertThat(first.parameters() / 1e9).isCloseTo(billions, within(0.051));
    double formula =
        96.0
            * batch
            * SEQUENCE
            * layers
            * hidden
            * hidden
            * (1 + SEQUENCE / (6.0 * hidden) + VOCABULARY / (16.0 * layers * hidden));
    assertThat(plan.operationsPerStep()).isCloseTo(formula, within(1e-9 * formula));
    // The speed is printed to a whole number.
    assertThat(plan.operationsPerStep() / (devices * teraflops * 1e12))
        .isCloseTo(seconds, within(seconds * 0.5 / teraflops));
  }

  @ParameterizedTest
  @CsvSource({"none, 72, 12", "full, 96, 16"})
  void whatIsNotRecomputedIsNotCounted(String recompute, double factor, double vocabularyFactor)
      throws Exception {
    JobPlan plan = plan(3, 128, 4, 2, 4, ", recompute: " + recompute + "}");
    double formula =
        factor
            * 4
            * SEQUENCE
            * 3
            * 128
            * 128
            * (1 + SEQUENCE / (6.0 * 128) + VOCABULARY / (vocabularyFactor * 3 * 128));
    assertThat(plan.operationsPerStep()).isCloseTo(formula, within(1e-9 * formula));
    assertThat(plan.ranks()).hasSize(2);
    assertThat(plan.isAbridged()).isFalse();
  }
}
