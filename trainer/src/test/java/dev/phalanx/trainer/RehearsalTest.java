package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.trainer.config.ConfigurationException;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.model.TransformerConfig;
import dev.phalanx.trainer.rehearsal.SentOperations;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Numbers of papers, found by rehearsing the models that they are about. */
@Timeout(120)
final class RehearsalTest {
  private static final long VOCABULARY = 51200;
  private static final long SEQUENCE = 2048;

  private static JobPlan plan(
      long layers, long hidden, long heads, int ranks, long batch, String more) throws Exception {
    return JobPlan.of(parse(layers, hidden, heads, ranks, batch, more), Path.of(""), ranks);
  }

  private static ParsedPlan parse(
      long layers, long hidden, long heads, int ranks, long batch, String more) {
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
    return JobConfigParser.parse("plan.yaml", yaml);
  }

  /**
   * Narayanan et al., 2021, "Efficient Large-Scale Language Model Training on GPU Clusters", table
   * 1 and equations 2 and 3, by the plans in {@code configs}: parameters, operations of a step with
   * full recomputation, the time that follows from the speed that was reached, and what is sent.
   */
  @ParameterizedTest
  @CsvSource({
    "1.7b,   1.7,   32, 137,  3.52",
    "7.5b,   7.5,  128, 142,  3.69",
    "39b,   39.1,  512, 138, 14.42",
    "146b, 145.6, 1536, 148, 24.84",
    "530b, 529.6, 2520, 163, 54.16"
  })
  void publishedPlansAreWhatTheirPaperSays(
      String name, double billions, int devices, double teraflops, double seconds)
      throws Exception {
    ParsedPlan parsed =
        JobConfigParser.read(Path.of("../configs/published/megatron-" + name + ".yaml"), List.of());
    JobPlan plan = JobPlan.of(parsed, Path.of(""), devices);
    TransformerConfig model = plan.model();
    Rehearsal first = plan.ranks().get(0).rehearsal();
    long hidden = model.hidden();
    long layers = model.layers();

    long perLayer = 12 * hidden * hidden + 13 * hidden;
    long lastNorm = 2 * hidden; // which the paper's formula leaves out
    assertThat(first.parameters())
        .isEqualTo(layers * perLayer + (VOCABULARY + SEQUENCE) * hidden + lastNorm);
    assertThat(first.parameters() / 1e9).isCloseTo(billions, within(0.051));
    long batch = parsed.config().batch().global();
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
    assertThat(plan.peakBytes()).isLessThan(80L << 30);
    requireSent(plan, hidden);
  }

  /** Jiang et al., 2024, "Mixtral of Experts": 47B parameters, of which a token uses 13B. */
  @Test
  void mixtralIsAsLargeAsItIs() throws Exception {
    ParsedPlan parsed =
        JobConfigParser.read(Path.of("../configs/published/mixtral-8x7b.yaml"), List.of());
    TransformerConfig model = ModelSetup.sizes(parsed.config().transformer(), 32000);
    assertThat(model.parameterCount()).isEqualTo(46_702_792_704L); // of the published weights
    assertThat(model.activeParameterCount()).isEqualTo(12_879_925_248L);
    JobPlan plan = JobPlan.of(parsed, Path.of(""), 64);
    long held = plan.ranks().get(0).rehearsal().parameterBytes() / Short.BYTES;
    long shared = (model.parameterCount() - model.expertParameterCount()) / 2; // of two ranks
    long experts = model.expertParameterCount() / 4 / 2; // of four times two ranks
    long copied = (32L * 2 + 1) * 4096 + 32L * 8 * 4096; // norms and routers, on both whole
    assertThat(held).isEqualTo(shared + experts + copied / 2);
  }

  /**
   * ZeRO's table 1 and the activation table of Korthikanti et al., in plans as a user writes them.
   * The first is about 7.5 billion parameters sharp, so it is compared per parameter.
   */
  @ParameterizedTest
  @CsvSource({"1, 31.4", "2, 16.6", "3, 1.88"})
  void modelStatesOfThePaperAreShown(int zero, double gigabytes) throws Exception {
    ParsedPlan parsed =
        parse(2, 128, 4, 64, 64, "}\nprecision: bf16\nsharding: {zero: " + zero + "}");
    JobPlan plan = JobPlan.of(parsed, Path.of(""), 64);
    assertThat(
            plan.published(parsed.config()).modelStateBytes() / plan.model().parameterCount() * 7.5)
        .isCloseTo(gigabytes, within(0.05));
  }

  /** The first stage of a model with 22 billion parameters in micro-batches of 4, GiB. */
  @ParameterizedTest
  @CsvSource({"none, false, 59.2", "none, true, 39.6", "selective, true, 9.6", "full, true, 4.5"})
  void activationsOfThePaperAreShown(String recompute, boolean isSequenceParallel, double gib)
      throws Exception {
    String yaml =
        """
        model: {family: gpt2, layers: 48, hidden: 6144, heads: 64, sequence: 2048, vocab: 51200, recompute: %s}
        data: {kind: reference}
        batch: {global: 4, micro: 4}
        optimizer: {kind: adamw, lr: 1.0e-4}
        precision: bf16
        steps: 1
        parallel: {tensor: 8, sequence_parallel: %s}
        """
            .formatted(recompute, isSequenceParallel);
    ParsedPlan parsed = JobConfigParser.parse("plan.yaml", yaml);
    JobPlan plan = JobPlan.of(parsed, Path.of(""), 8);
    assertThat(plan.published(parsed.config()).activationBytes().orElseThrow() / (1L << 30))
        .isCloseTo(gib, within(0.05));
  }

  /**
   * In elements of bf16: b s h at each boundary; 8 b s h (t - 1) / t a layer, and half of that
   * again where the forward pass is computed twice.
   */
  private static void requireSent(JobPlan plan, long hidden) {
    int tensor = plan.mesh().size(Axis.TENSOR);
    int stages = plan.mesh().size(Axis.PIPELINE);
    long activation = 2 * SEQUENCE * hidden * plan.microBatches();
    for (JobPlan.Rank rank : plan.ranks()) {
      int stage = plan.mesh().coordinate(rank.number(), Axis.PIPELINE);
      boolean isEnd = stage == 0 || stage == stages - 1;
      SentOperations pipeline = rank.rehearsal().sent(Axis.PIPELINE);
      long boundaries = 2L * plan.pipeline().stagesOf(stage).size() - (isEnd ? 1 : 0);
      assertThat(
              pipeline.byName().getOrDefault("exchange", new SentOperations.Sent(0, 0, 0)).bytes())
          .isEqualTo(stages == 1 ? 0 : boundaries * activation);
      long norm = 16; // one number's sum
      if (!isEnd) { // no embedding and no loss
        long sums = 6L * rank.layers().size() * activation / tensor * (tensor - 1);
        assertThat(rank.rehearsal().sent(Axis.TENSOR).bytes()).isEqualTo(sums * 2 + norm);
      }
    }
  }

  /**
   * Ren et al., 2021: master values, both moments and a copy of the gradients, 4 bytes each, lie in
   * host memory. On the CPU there is but one memory.
   */
  @Test
  void whatIsOffloadedIsNotInTheDevicesMemory() throws Exception {
    String more = "}\nprecision: bf16\nsharding: {zero: 1, offload: %s}";
    ParsedPlan kept = parse(3, 128, 4, 2, 4, more.formatted("none"));
    ParsedPlan offloaded = parse(3, 128, 4, 2, 4, more.formatted("cpu"));
    JobPlan device = JobPlan.onCluster(kept, Path.of(""), 2);
    JobPlan host = JobPlan.onCluster(offloaded, Path.of(""), 2);
    long shard = device.model().parameterCount() / 2;
    assertThat((double) (device.peakBytes() - host.peakBytes()))
        .isCloseTo(12.0 * shard, withinPercentage(1));
    assertThat((double) (host.hostPeakBytes() - device.hostPeakBytes()))
        .isCloseTo(16.0 * shard, withinPercentage(1));
    assertThat(host.ranks().get(0).rehearsal().optimizerBytes())
        .isEqualTo(device.ranks().get(0).rehearsal().optimizerBytes());
    JobPlan onCpu = JobPlan.of(offloaded, Path.of(""), 2);
    assertThat(onCpu.hostPeakBytes()).isZero();
    assertThat(onCpu.peakBytes()).isGreaterThanOrEqualTo(device.peakBytes());
  }

  /** Of 8 micro-batches over 4 stages 3 / 11 are idle, were it not for unequal stages. */
  @Test
  void stagesWithLessWorkAreIdleLonger() throws Exception {
    double equal = idle(8);
    assertThat(equal).isCloseTo(3 / 11.0, within(0.02)); // the head is a small part of a layer
    assertThat(idle(5)).isGreaterThan(equal + 0.1);
  }

  private static double idle(int layers) throws Exception {
    String yaml =
        """
        model: {family: gpt2, layers: %d, hidden: 256, heads: 4, sequence: 64, vocab: 64}
        data: {kind: reference}
        batch: {global: 8, micro: 1}
        optimizer: {kind: adamw, lr: 1.0e-4}
        steps: 1
        parallel: {pipeline: 4, data: 1}
        """
            .formatted(layers);
    return JobPlan.of(JobConfigParser.parse("plan.yaml", yaml), Path.of(""), 4).idle();
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

  /** Ranks have a sequence more or less then, and some compute one that counts nowhere. */
  @ParameterizedTest
  @ValueSource(ints = {3, 64, 128})
  void operationsOfAnUnevenBatchAreThoseOfItsSequences(int ranks) throws Exception {
    double onOne = unevenBatch(133, 1).operationsPerStep();
    assertThat(unevenBatch(133, ranks).operationsPerStep()).isCloseTo(onOne, within(1e-9 * onOne));
  }

  private static JobPlan unevenBatch(long global, int ranks) throws Exception {
    String yaml =
        """
        model: {family: gpt2, layers: 1, hidden: 64, heads: 1, sequence: 32, vocab: 128}
        data: {kind: reference}
        batch: {global: %d, micro: 2, uneven: true}
        optimizer: {kind: adamw, lr: 1.0e-4}
        steps: 1
        """
            .formatted(global);
    return JobPlan.of(JobConfigParser.parse("plan.yaml", yaml), Path.of(""), ranks);
  }

  /** As of whoever counts it in tokens. */
  @ParameterizedTest
  @ValueSource(longs = {200_000, 2_000_000_000})
  void aBatchOfTooManyMicroBatchesIsRefusedAtOnce(long global) {
    assertThatThrownBy(() -> unevenBatch(global, 1))
        .isInstanceOf(ConfigurationException.class)
        .hasMessageContaining("batch.global")
        .hasMessageContaining("in sequences, not in tokens");
  }

  /** What it drops is told by its seed: nothing more is kept for the backward pass. */
  @Test
  void dropoutKeepsNothing() throws Exception {
    long without = peakActivations(", dropout: 0.0}");
    assertThat(peakActivations(", dropout: 0.1}")).isEqualTo(without);
  }

  private static long peakActivations(String more) throws Exception {
    return plan(3, 128, 4, 1, 2, more).ranks().get(0).rehearsal().peakActivationBytes();
  }
}
