package dev.phalanx.trainer.config;

import static dev.phalanx.trainer.config.Plans.MINIMAL;
import static dev.phalanx.trainer.config.Plans.problemsInWorld;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class JobConfigValidatorTest {
  @Test
  void aGoodPlanHasNoProblems() {
    assertThat(problemsInWorld(2, MINIMAL)).isEmpty();
    assertThat(problemsInWorld(1, MINIMAL)).isEmpty();
  }

  @Test
  void aBatchThatDoesNotDivideIsReportedWithItsEquation() {
    assertThat(problemsInWorld(2, MINIMAL.replace("global: 8", "global: 30")))
        .containsExactly(
            "configs/a.yaml:10:11: batch.global: global 30 must be micro 4 × accumulation ×"
                + " data-parallel ranks 2 with a whole accumulation, but 30 / 8 is 3.75;"
                + " write 'global: 24 or 32' or 'micro: 3' or, for shares that differ by a sample,"
                + " 'uneven: true'");
    assertThat(problemsInWorld(3, MINIMAL))
        .containsExactly(
            "configs/a.yaml:10:11: batch.global: global 8 must be micro 4 × accumulation ×"
                + " data-parallel ranks 3 with a whole accumulation, but 8 / 12 is 0.667;"
                + " write 'global: 12'");
  }

  @Test
  void whereSharesMayBeUnequalABatchNeedNotDivide() {
    assertThat(problemsInWorld(2, MINIMAL, "batch={global: 30, micro: 4, uneven: true}")).isEmpty();
    assertThat(problemsInWorld(3, MINIMAL, "batch={global: 8, micro: 3, uneven: true}")).isEmpty();
    assertThat(problemsInWorld(1, MINIMAL, "batch={global: 8, micro: 3, uneven: true}")).isEmpty();
  }

  @Test
  void unequalSharesThatLeaveRanksOrMicroBatchesEmptyAreReportedWithTheirNumbers() {
    assertThat(problemsInWorld(3, MINIMAL, "batch.uneven=true"))
        .singleElement()
        .asString()
        .endsWith(
            "batch.micro: micro 4 is more than a rank has: global 8 among 3"
                + " data-parallel ranks is at most 3 for each; write 'micro: 3' or 'global: 12'");
    assertThat(problemsInWorld(9, MINIMAL, "batch.uneven=true"))
        .singleElement()
        .asString()
        .endsWith(
            "batch.global: global 8 has no sample for each of 9"
                + " data-parallel ranks; write 'global: 9' or more, or start fewer workers");
  }

  @Test
  void theMeshMustFitTheWorld() {
    assertThat(problemsInWorld(4, MINIMAL + "parallel: {data: 2}"))
        .containsExactly(
            "configs/a.yaml:15:18: parallel.data: data 2 × tensor 1 × pipeline 1 × context 1 = 2"
                + " ranks, but the job has 4; start 2 workers or write 'data: 4' or 'data: -1'");
    assertThat(problemsInWorld(3, MINIMAL, "parallel.tensor=2"))
        .contains(
            "--set parallel.tensor=2: parallel: tensor 2 × pipeline 1 × context 1 = 2 ranks for"
                + " each part of the batch, which does not divide the 3 ranks of the job;"
                + " start a multiple of 2 workers or write smaller sizes");
  }

  @Test
  void fastFrequenciesHaveMoreTurnsThanSlowOnes() {
    String scaling = "model.rope_scaling={kind: llama3, factor: 8, original_sequence: 16, ";
    assertThat(problemsInWorld(1, MINIMAL, "model.family=llama", scaling + "high_freq_factor: 1}"))
        .containsExactly(
            "--set "
                + scaling
                + "high_freq_factor: 1}: model.rope_scaling.high_freq_factor: high_freq_factor"
                + " 1 is not more than low_freq_factor 1; write for example"
                + " 'low_freq_factor: 1.0' and 'high_freq_factor: 4.0'");
    assertThat(problemsInWorld(1, MINIMAL, "model.family=llama", scaling + "high_freq_factor: 2}"))
        .isEmpty();
  }

  @Test
  void widthsMustDivide() {
    assertThat(problemsInWorld(1, MINIMAL.replace("heads: 4", "heads: 5")))
        .containsExactly(
            "configs/a.yaml:5:10: model.heads: hidden 64 is not a multiple of heads 5;"
                + " write a divisor of 64, as in 'heads: 4'");
    assertThat(problemsInWorld(1, MINIMAL, "model.family=llama", "model.kv_heads=3"))
        .containsExactly(
            "--set model.kv_heads=3: model.kv_heads: heads 4 is not a multiple of kv_heads 3;"
                + " write a divisor of 4, as in 'kv_heads: 2'");
    assertThat(problemsInWorld(1, MINIMAL, "model.family=llama", "model.kv_heads=2")).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "model.kv_heads=2                | family gpt2 has as many key and value heads as heads, 4",
        "model.vocab=100                 | tokenizer bytes has 256 tokens, but the model's",
        "optimizer.schedule={kind: cosine, warmup_steps: 60} | warmup_steps 60 is more than"
            + " decay_steps 50",
        "optimizer.schedule={kind: linear, min_lr: 1} | min_lr 1 is more than lr 3.0e-4",
        "optimizer={kind: sgd, lr: 1, nesterov: true} | nesterov needs momentum, which is 0",
        "device=cuda                     | device cuda is not available in this version",
        "sharding={zero: 2, reshard_after_forward: false} | parameters are whole all the time while"
            + " zero is 2; write 'zero: 3'",
        "parallel.expert=2               | expert 2 divides the experts of each layer, and the"
            + " model has none; write 'expert: 1', or under model for example 'experts: {count:"
            + " 8}'",
        "model.experts={count: 4, top_k: 5} | each token goes to top_k 5 of 4 experts; write at"
            + " most 4",
        "sharding.shard_size=2           | shard_size 2 has nothing to divide while zero is 0;"
            + " write 'zero: 1'",
        "sharding={zero: 1, shard_size: 3} | shard_size 3 does not divide the 2 data-parallel"
            + " ranks; write 1, 2 or -1",
        "communication.transport=nccl    | transport nccl is not available in this version; write"
            + " 'transport: auto'",
        "checkpoint.dir=hdfs://host/runs | the store hdfs: is not available in this version; write"
            + " the path of",
      })
  void aPlanThatCannotRunIsRefused(String override, String expected) {
    assertThat(problemsInWorld(2, MINIMAL, override))
        .singleElement()
        .asString()
        .startsWith("--set " + override.trim() + ": ")
        .contains(expected);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "3 | model.ffn_hidden=255 | parallel.tensor: tensor 3 does not divide heads 4;"
            + " write 'tensor: 2'",
        "2 | model.ffn_hidden=255 | parallel.tensor: tensor 2 does not divide ffn_hidden 255;"
            + " write 'tensor: 1'",
        "4 | model={family: llama, layers: 1, hidden: 48, heads: 12, kv_heads: 6, ffn_hidden: 8,"
            + " sequence: 16} | parallel.tensor: neither does tensor 4 divide kv_heads 6 nor the"
            + " other way round; write 'tensor: 3'",
        "4 | model={family: gpt2, layers: 1, hidden: 8, heads: 4, sequence: 16, vocab: 3} |"
            + " a vocabulary of 3 has no row for each of 4 ranks; write at most 'tensor: 3'",
        "2 | model.sequence=15;batch={global: 8, micro: 1};parallel.sequence_parallel=true |"
            + " micro 1 × sequence 15 = 15 tokens of a micro-batch, which tensor 2 does not divide;"
            + " write 'sequence_parallel: false' or a 'micro' that is a multiple of 2",
        "2 | model.sequence=33;parallel.sequence_parallel=true;evaluation.every=5 | an evaluation"
            + " may end with a single sequence of 33 tokens, which tensor 2 does not divide",
        "2 | model.sequence=15;batch={global: 7, micro: 2, uneven:"
            + " true};parallel.sequence_parallel=true | a step whose batch does not divide evenly"
            + " may end with a single sequence of 15 tokens, which tensor 2 does not divide; write"
            + " 'sequence_parallel: false' or a 'global' that is a multiple of 2",
      })
  void whatRanksDivideMustDivide(int tensor, String overrides, String expected) {
    List<String> all = new ArrayList<>(List.of(overrides.split(";")));
    all.add("parallel.tensor=" + tensor);
    assertThat(problemsInWorld(tensor, MINIMAL, all.toArray(String[]::new)))
        .anySatisfy(problem -> assertThat(problem).contains(expected));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{kind: int8} | false | true",
        "{kind: topk} | false | true",
        "{kind: powersgd} | false | false",
        "{kind: int8} | true | false",
        "{kind: threshold} | false | false",
        "{kind: threshold, min_density: 0.01, max_density: 0.1} | false | true",
        "{kind: threshold, min_density: 0.01, max_density: 0.1} | true | false",
      })
  void codecsThatLookAtNeighboursWouldLetCopiesDriftApart(
      String codec, boolean sequenceParallel, boolean isRefused) {
    List<String> problems =
        problemsInWorld(
            4,
            MINIMAL,
            "communication.compression=" + codec,
            "parallel={tensor: 2, sequence_parallel: " + sequenceParallel + "}");
    assertThat(problems.stream().anyMatch(problem -> problem.contains("drift apart")))
        .isEqualTo(isRefused);
  }

  @Test
  void nothingCanBeHeldOutOfWhatAFormulaMakes() {
    assertThat(problemsInWorld(1, MINIMAL, "data={kind: reference}", "evaluation.every=5"))
        .singleElement()
        .asString()
        .startsWith("--set evaluation.every=5: ")
        .contains("no part to hold out");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "4 | parallel={expert: 4};model.experts={count: 6} | expert 4 does not divide"
            + " experts.count 6; write 'expert: 2'",
        "6 | parallel={expert: 4};model.experts={count: 8};sharding={zero: 1, shard_size: 3};"
            + "batch={global: 12, micro: 1} | expert 4 does not divide the 6 data-parallel ranks,"
            + " among which experts are divided; write 'expert: 2'",
        "4 | parallel={expert: 4, tensor: 2};model.experts={count: 8} | expert 4 does not divide"
            + " the 2 data-parallel ranks, among which experts are divided; write 'expert: 2'",
        "4 | parallel={expert: 2};model.experts={count: 8};sharding={zero: 1, shard_size: 4} |"
            + " shard_size 4 does not divide the 2 data-parallel (data / expert) ranks; write 1, 2"
            + " or -1",
        "4 | parallel={expert: 4};model.experts={count: 8};"
            + "communication.compression={kind: powersgd} | each of the data-parallel ranks has"
            + " other experts, and what they send each other is not compressed",
      })
  void expertsAreDividedAmongDataParallelRanks(int ranks, String overrides, String expected) {
    List<String> all = new ArrayList<>(List.of(overrides.trim().split(";")));
    all.add(0, "batch={global: 8, micro: 1}");
    assertThat(problemsInWorld(ranks, MINIMAL, all.toArray(String[]::new)))
        .singleElement()
        .asString()
        .contains(expected);
  }

  @Test
  void theReferenceHasNoExperts() {
    assertThat(
            problemsInWorld(1, MINIMAL, "model.experts={count: 4}", "model.init={kind: reference}"))
        .singleElement()
        .asString()
        .contains("init reference has no weights for experts");
  }

  @Test
  void contextParallelRanksNeedTwoChunksOfASequenceEach() {
    assertThat(problemsInWorld(3, MINIMAL, "parallel.context=3", "model.sequence=32"))
        .singleElement()
        .asString()
        .endsWith(
            "parallel.context: a sequence of 32 tokens is not two equal chunks for each of context"
                + " 3 ranks; write a 'sequence' that is a multiple of 6");
    assertThat(problemsInWorld(3, MINIMAL, "parallel.context=3", "model.sequence=36")).isEmpty();
    assertThat(
            problemsInWorld(
                6,
                MINIMAL,
                "parallel.context=6",
                "model.sequence=36",
                "sharding.zero=1",
                "sharding.shard_size=4"))
        .singleElement()
        .asString()
        .contains("shard_size 4 does not divide the 6 data- and context-parallel ranks");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "3 | parallel.pipeline=3 | parallel.pipeline: pipeline 3 × virtual_stages 1 = 3 stages of"
            + " at least a layer each, and the model has 2; write at most 'pipeline: 2'",
        "2 | parallel={pipeline: 2, virtual_stages: 2} | parallel.virtual_stages: schedule 1f1b has"
            + " one stage on each rank, not 2; write 'schedule: interleaved' or 'virtual_stages:"
            + " 1'",
        "2 | parallel={pipeline: 2, virtual_stages: 2, schedule: ./a.txt} |"
            + " parallel.virtual_stages: the table ./a.txt says itself which stages are on a rank;"
            + " leave virtual_stages out",
        "1 | parallel={schedule: interleaved, virtual_stages: 2} | parallel.virtual_stages:"
            + " virtual_stages 2 divide a pipeline of one rank; write 'virtual_stages: 1'",
        "2 | parallel={pipeline: 2, schedule: interleaved} | parallel.pipeline: pipeline 2 ×"
            + " virtual_stages 2 = 4 stages of at least a layer each, and the model has 2; write at"
            + " most 'pipeline: 1' or 'schedule: 1f1b'",
      })
  void stagesNeedLayersAndASchedule(int ranks, String override, String expected) {
    assertThat(problemsInWorld(ranks, MINIMAL, override))
        .anySatisfy(problem -> assertThat(problem).contains(expected));
  }

  @ParameterizedTest
  @CsvSource({"interleaved, 2, 2", "interleaved, 1, 1", "1f1b, 2, 1", "zb-h1, 2, 1"})
  void onlyAnInterleavedPipelineHasTwoStagesOnARank(String schedule, int pipeline, int stages) {
    String parallel = "parallel={pipeline: %d, schedule: %s}".formatted(pipeline, schedule);
    assertThat(
            JobConfigParser.parse("plan.yaml", MINIMAL, List.of(parallel))
                .config()
                .parallel()
                .virtualStages())
        .isEqualTo(stages);
  }

  @Test
  void theReferenceHasOneFormOfTheModel() {
    assertThat(
            problemsInWorld(
                1,
                MINIMAL,
                "model.init.kind=reference",
                "model.family=llama",
                "model.tied_embeddings=false",
                "model.ffn_hidden=100"))
        .hasSize(3);
    assertThat(problemsInWorld(1, MINIMAL, "model.init.kind=reference")).isEmpty();
  }

  @Test
  void rotaryPositionsNeedEvenHeads() {
    assertThat(
            problemsInWorld(1, MINIMAL, "model.family=llama", "model.hidden=60", "model.heads=4"))
        .singleElement()
        .asString()
        .contains("a head has 15 (hidden 60 / heads 4)");
  }

  @Test
  void openSizesAreNotLookedAt() {
    assertThat(
            problemsInWorld(
                1, MINIMAL, "model={family: gpt2, init: {kind: hf, path: models/tiny}}"))
        .isEmpty();
  }

  @Test
  void whatGradientsOfAScaledLossLeaveOutIsNotCarriedOver() {
    assertThat(problemsInWorld(2, MINIMAL, "precision=fp16", "communication.compression.kind=int8"))
        .singleElement()
        .asString()
        .contains("communication.compression.kind: with precision fp16 gradients are those of a")
        .endsWith("write 'kind: fp16', 'kind: bf16' or 'kind: none' here, or 'precision: bf16'");
  }

  /** Casts keep nothing for the next step. */
  @ParameterizedTest
  @ValueSource(strings = {"fp16", "bf16"})
  void gradientsOfAScaledLossAreCast(String kind) {
    String compression = "communication.compression.kind=" + kind;
    assertThat(problemsInWorld(2, MINIMAL, "precision=fp16", compression)).isEmpty();
  }

  /** Whatever the plan says of it: the same plan may run on more ranks. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "sharding.zero=2",
        "sharding={zero: 3, shard_size: 1}",
        "precision=fp16",
        "parallel={tensor: 2}"
      })
  void whereNoTwoRanksHoldTheSameNothingIsCompressed(String setting) {
    int ranks = setting.contains("tensor") ? 2 : 1;
    String compression = "communication.compression.kind=int8";
    assertThat(problemsInWorld(ranks, MINIMAL, setting, compression)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"bf16", "fp16"})
  void nd4jComputesInFp32Alone(String precision) {
    assertThat(problemsInWorld(2, MINIMAL, "engine=nd4j", "precision=" + precision))
        .singleElement()
        .asString()
        .contains("precision: precision " + precision + " on engine nd4j is not available")
        .endsWith("write 'precision: fp32'");
    assertThat(problemsInWorld(2, MINIMAL, "engine=nd4j", "precision=fp32")).isEmpty();
  }

  @Test
  void allMistakesAreThrownAtOnce() {
    assertThatThrownBy(
            () ->
                JobConfigValidator.validate(
                    Plans.plan(MINIMAL, "device=cuda", "model.heads=5", "batch.global=7"), 2))
        .isInstanceOfSatisfying(
            ConfigurationException.class, e -> assertThat(e.problems()).hasSize(3));
    assertThatThrownBy(() -> JobConfigValidator.validate(Plans.parse(MINIMAL, "device=cuda"), 2))
        .hasMessage(
            "a: device: device cuda is not available in this version; write 'device: auto'");
  }
}
