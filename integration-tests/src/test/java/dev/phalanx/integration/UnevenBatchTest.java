package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.aggregator.ArgumentsAccessor;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** A batch need not divide by ranks and micro-batches: the curve stays that of one rank. */
@Timeout(300)
final class UnevenBatchTest {
  private static final int STEPS = 50;

  @TempDir private Path folder = Path.of("");

  /** The reference's batch of 8 is 3, 3 and 2 samples among three data-parallel ranks. */
  private static Stream<Arguments> stages() {
    return IntStream.rangeClosed(0, 3)
        .boxed()
        .flatMap(stage -> Stream.of(2, 1, 3).map(micro -> Arguments.of(3, micro, 1, stage)));
  }

  static Stream<Arguments> layouts() {
    return Stream.concat(
        stages(),
        Stream.of(
            Arguments.of(1, 3, 1, 0),
            Arguments.of(6, 2, 2, 1),
            Arguments.of(6, 1, 2, 0),
            Arguments.of(6, 3, 2, 2),
            Arguments.of(6, 1, 2, 3)));
  }

  @Sample(4)
  @ParameterizedTest(name = "{0} ranks, micro-batches of {1}, pipeline {2}, stage {3}")
  @MethodSource("layouts")
  void theReferenceCurve(int ranks, int microBatch, int pipeline, int stage) throws Exception {
    Reference.Curve curve = Reference.Curve.CLIP_COSINE;
    String more =
        "parallel: {pipeline: %d}\nsharding: {zero: %d}\ncommunication: {bucket_mb: 0.05}\n"
            .formatted(pipeline, stage);
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(curve, STEPS, microBatch, more), ranks, folder, Optional.empty());

    Curves.of(run).assertFollows(Curves.of(curve));
  }

  private static final String MODEL =
      """
      model: {family: %s, layers: 2, hidden: 32, heads: 4, ffn_hidden: 40, sequence: 16, vocab: 250,
              dropout: %s%s}
      data: {kind: reference}
      optimizer: {kind: adamw, lr: 1.0e-3, clip_grad_norm: 0.5}
      steps: 8
      threads: 1
      communication: {bucket_mb: 0.02}
      """;

  private static final String EXPERTS =
      ", experts: {count: 6, top_k: 2, balance: 0.2, z_loss: 0.02}";

  @Sample(3)
  @ParameterizedTest(name = "{0}, dropout {1}{2}, {3} ranks, micro-batches of {4}: {5}; {6}")
  @CsvSource(
      delimiter = '|',
      value = {
        "gpt2|0.1||1|3|data: 1|zero: 0",
        "gpt2|0|, recompute: full|3|1|data: 3|zero: 2",
        "gpt2|0||6|1|data: 6|zero: 3, shard_size: 2",
        "gpt2|0.1||6|2|tensor: 2, sequence_parallel: true|zero: 0",
        "llama|0||3|3|data: 3|zero: 0",
        "llama|0||3|2|data: 3|zero: 2",
        "llama|0.1||3|1|data: 3|zero: 3",
        "llama|0.1||6|2|pipeline: 2, schedule: zb-h1|zero: 1",
        "llama|0.1||6|1|context: 2|zero: 3",
        "llama|0|experts|3|1|expert: 1|zero: 0",
        "llama|0|experts|3|2|expert: 3|zero: 0",
        "gpt2|0|experts|6|1|expert: 3, pipeline: 2|zero: 0",
      })
  void whatOneRankGives(ArgumentsAccessor cell) throws Exception {
    String more = Optional.ofNullable(cell.getString(2)).orElse("").replace("experts", EXPERTS);
    String model = MODEL.formatted(cell.getString(0), cell.getString(1), more);
    String layout =
        "batch: {global: 8, micro: %s, uneven: true}\nparallel: {%s}\nsharding: {%s}\n"
            .formatted(cell.getString(4), cell.getString(5), cell.getString(6));
    InProcessJob.Run one = run(model + "batch: {global: 8, micro: 8}\n", 1);
    InProcessJob.Run divided = run(model + layout, cell.getInteger(3));

    Curves.of(divided).assertFollows(Curves.of(one));
    assertThat(divided.steps().stream().map(StepRecord::expertLoad).toList())
        .isEqualTo(one.steps().stream().map(StepRecord::expertLoad).toList());
  }

  /** Two numbers have one sum in either order, and with one micro-batch each rank brings one. */
  @ParameterizedTest(name = "stage {0}")
  @CsvSource({"1", "2", "3"})
  void betweenTwoRanksEveryStageGivesTheSameBits(int stage) throws Exception {
    String plan =
        MODEL.formatted("llama", "0.1", "").replace(", clip_grad_norm: 0.5", "")
            + "batch: {global: 7, micro: 4, uneven: true}\nsharding: {zero: %d}\n";

    assertThat(losses(plan.formatted(stage))).isEqualTo(losses(plan.formatted(0)));
  }

  private List<Double> losses(String plan) throws Exception {
    return run(plan, 2).steps().stream().map(StepRecord::loss).toList();
  }

  @ParameterizedTest(name = "{0} ranks, micro-batches of {1}, then {2} ranks, of {3}")
  @CsvSource({"3, 2, 2, 4", "2, 4, 3, 1"})
  void aCheckpointFitsOtherShares(int ranks, int microBatch, int nextRanks, int nextMicroBatch)
      throws Exception {
    Reference.Curve curve = Reference.Curve.PLAIN;
    String more = "sharding: {zero: 2}\ncheckpoint: {dir: saved, every: 20}\n";
    run(Reference.plan(curve, 20, microBatch, more), ranks);
    InProcessJob.Run rest =
        InProcessJob.run(
            Reference.plan(curve, STEPS, nextMicroBatch, more),
            nextRanks,
            folder,
            Optional.of(folder.resolve("saved")));

    Curves.of(rest).assertFollows(Curves.of(curve).from(20));
  }

  private InProcessJob.Run run(String plan, int ranks) throws Exception {
    return InProcessJob.run(plan, ranks, folder, Optional.empty());
  }
}
