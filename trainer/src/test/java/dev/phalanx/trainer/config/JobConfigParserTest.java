package dev.phalanx.trainer.config;

import static dev.phalanx.trainer.config.Plans.MINIMAL;
import static dev.phalanx.trainer.config.Plans.parse;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.trainer.config.JobConfig.Algorithm;
import dev.phalanx.trainer.config.JobConfig.Axis;
import dev.phalanx.trainer.config.JobConfig.Batch;
import dev.phalanx.trainer.config.JobConfig.Checkpoint;
import dev.phalanx.trainer.config.JobConfig.Communication;
import dev.phalanx.trainer.config.JobConfig.Compression;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.DeviceKind;
import dev.phalanx.trainer.config.JobConfig.EngineKind;
import dev.phalanx.trainer.config.JobConfig.Evaluation;
import dev.phalanx.trainer.config.JobConfig.Family;
import dev.phalanx.trainer.config.JobConfig.Init;
import dev.phalanx.trainer.config.JobConfig.Log;
import dev.phalanx.trainer.config.JobConfig.LossScaling;
import dev.phalanx.trainer.config.JobConfig.Offload;
import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Parallel;
import dev.phalanx.trainer.config.JobConfig.Precision;
import dev.phalanx.trainer.config.JobConfig.Recompute;
import dev.phalanx.trainer.config.JobConfig.Schedule;
import dev.phalanx.trainer.config.JobConfig.ScheduleKind;
import dev.phalanx.trainer.config.JobConfig.Sharding;
import dev.phalanx.trainer.config.JobConfig.Transformer;
import dev.phalanx.trainer.config.JobConfig.Transport;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class JobConfigParserTest {
  private static final String EVERYTHING =
      """
      name: quickstart
      seed: 1234
      engine: auto                 # auto | torch | nd4j
      device: auto                 # auto | cpu | cuda
      precision: fp32
      model:
        family: gpt2               # gpt2 | llama
        layers: 4
        hidden: 256
        heads: 4
        kv_heads: 4                # llama: grouped-query attention
        ffn_hidden: 1024
        sequence: 256
        vocab: 256
        dropout: 0.0
        tied_embeddings: true
        recompute: none            # none | selective | full
        init: {kind: normal, std: 0.02}
      data:
        kind: text
        path: data/moby-dick.txt
        tokenizer: bytes           # bytes | gpt2 | a path to a tokenizer.json
      batch: {global: 32, micro: 8}
      optimizer:
        kind: adamw                # adamw | sgd | lamb
        lr: 3.0e-4
        betas: [0.9, 0.95]
        eps: 1.0e-8
        weight_decay: 0.1
        clip_grad_norm: 1.0        # left out: no clipping
        schedule: {kind: cosine, warmup_steps: 100, decay_steps: 2000, min_lr: 3.0e-5}
      steps: 2000
      parallel:
        data: -1                   # -1: whatever the world leaves over
        tensor: 1
        pipeline: 1
        context: 1
        expert: 1
        order: [tensor, context, data, pipeline]    # inner to outer
        sequence_parallel: false
        schedule: 1f1b             # gpipe | 1f1b | interleaved | zb-h1 | zb-h2 | a path
        virtual_stages: 1
      sharding: {zero: 0, shard_size: -1, offload: none}
      communication:
        transport: auto
        algorithm: auto
        bucket_mb: 25
        overlap: true
        timeout_s: 60
        streams: 1
        compression: {kind: none}
      checkpoint: {dir: runs/gpt/checkpoints, every: 500, keep: 3, async: true}
      log: {every: 10, tensorboard: runs/gpt/tensorboard, report: runs/gpt/report.json}
      """;

  @Test
  void lossScalingBelongsToFp16() {
    assertThat(parse(MINIMAL, "precision=fp16").lossScaling())
        .contains(new LossScaling(65536, 2000));
    assertThat(parse(MINIMAL, "precision=fp16", "loss_scaling.initial=1024").lossScaling())
        .contains(new LossScaling(1024, 2000));
    assertThat(parse(MINIMAL, "precision=bf16").lossScaling()).isEmpty();
  }

  @Test
  void everyKeyReachesItsRecord() {
    JobConfig expected =
        new JobConfig(
            "quickstart",
            1234,
            EngineKind.AUTO,
            DeviceKind.AUTO,
            Precision.FP32,
            Optional.empty(),
            0,
            new Transformer(
                Family.GPT2,
                4,
                256,
                4,
                4,
                1024,
                256,
                256,
                0.0,
                Optional.of(true),
                Optional.of(1e-5),
                Optional.empty(),
                Optional.empty(),
                Recompute.NONE,
                Optional.empty(),
                new Init.Normal(0.02)),
            new Data.Text("data/moby-dick.txt", "bytes", 1234),
            new Batch(32, 8),
            new Optimizer(
                new Optimizer.AdamW(0.9, 0.95, 1e-8),
                3e-4,
                0.1,
                OptionalDouble.of(1.0),
                new Schedule(ScheduleKind.COSINE, 100, 2000, 3e-5)),
            2000,
            new Parallel(
                -1,
                1,
                1,
                1,
                1,
                List.of(Axis.TENSOR, Axis.CONTEXT, Axis.DATA, Axis.PIPELINE),
                false,
                "1f1b",
                1),
            new Sharding(0, -1, Offload.NONE, true),
            new Communication(
                Transport.AUTO, Algorithm.AUTO, 25, true, 60, 1, new Compression.None()),
            Optional.of(new Checkpoint("runs/gpt/checkpoints", 500, 3, true)),
            new Log(10, Optional.of("runs/gpt/tensorboard"), Optional.of("runs/gpt/report.json")),
            new Evaluation(0, 8, 0.05));

    assertThat(parse(EVERYTHING)).isEqualTo(expected);
    assertThat(JobConfigValidator.problemsOf(Plans.plan(EVERYTHING), 4)).isEmpty();
  }

  @Test
  void whatIsLeftOutHasADefault() {
    JobConfig config = parse(MINIMAL);

    assertThat(config.name()).isEqualTo("a");
    assertThat(config.seed()).isEqualTo(1234);
    assertThat(config.transformer().kvHeads()).isEqualTo(4);
    assertThat(config.transformer().ffnHidden()).isEqualTo(256);
    assertThat(config.transformer().vocab()).isEqualTo(256);
    assertThat(config.transformer().init()).isEqualTo(new Init.Normal(0.02));
    assertThat(config.data()).isEqualTo(new Data.Text("book.txt", "bytes", 1234));
    assertThat(config.optimizer())
        .isEqualTo(
            new Optimizer(
                new Optimizer.AdamW(0.9, 0.95, 1e-8),
                3e-4,
                0.1,
                OptionalDouble.empty(),
                new Schedule(ScheduleKind.CONSTANT, 0, 50, 0)));
    assertThat(config.parallel().worldSize()).isEmpty();
    assertThat(config.checkpoint()).isEmpty();
    assertThat(config.log()).isEqualTo(new Log(10, Optional.empty(), Optional.empty()));
    assertThat(config.communication().bucketBytes()).isEqualTo(25L << 20);
    assertThat(config.communication().timeout()).hasSeconds(60);
  }

  @Test
  void theVocabularyFollowsFromTheTokenizer() {
    assertThat(parse(MINIMAL, "data.tokenizer=gpt2").transformer().vocab()).isEqualTo(50257);
    assertThat(parse(MINIMAL, "data.tokenizer=my/tokenizer.json").transformer().vocab()).isZero();
  }

  @Test
  void theReferenceHasSeedsOfItsOwn() {
    JobConfig config = parse(MINIMAL, "data={kind: reference}", "model.init={kind: reference}");

    assertThat(config.data()).isEqualTo(new Data.Reference(20240602));
    assertThat(config.transformer().init()).isEqualTo(new Init.Reference(20240601));
    assertThat(config.transformer().vocab()).isEqualTo(256);
  }

  @Test
  void aWeightsDirectoryLeavesTheSizesOpen() {
    JobConfig config =
        parse(MINIMAL, "model={family: llama, init: {kind: hf, path: models/tiny}, sequence: 16}");

    assertThat(config.transformer().init()).isEqualTo(new Init.HuggingFace("models/tiny"));
    assertThat(config.transformer().sequence()).isEqualTo(16);
    assertThat(config.transformer().hidden()).isZero();
    assertThat(config.transformer().ffnHidden()).isZero();
    assertThat(config.transformer().vocab()).isZero();
  }

  @Test
  void optimizersHaveTheirOwnKeys() {
    assertThat(parse(MINIMAL, "optimizer={kind: sgd, lr: 1, momentum: 0.9}").optimizer())
        .isEqualTo(
            new Optimizer(
                new Optimizer.Sgd(0.9, false),
                1,
                0,
                OptionalDouble.empty(),
                new Schedule(ScheduleKind.CONSTANT, 0, 50, 0)));
    assertThat(parse(MINIMAL, "optimizer={kind: lamb, lr: 1}").optimizer().algorithm())
        .isEqualTo(new Optimizer.Lamb(0.9, 0.95, 1e-8));
    assertThat(parse(MINIMAL, "optimizer={kind: muon, lr: 0.02}").optimizer().algorithm())
        .isEqualTo(new Optimizer.Muon(0.95, true, 5, 3e-4, 0.9, 0.95, 1e-8));
  }

  @Test
  void numbersMayBeWrittenAsYamlAllows() {
    assertThat(parse(MINIMAL, "optimizer.lr=3e-4").optimizer().learningRate()).isEqualTo(3e-4);
    assertThat(parse(MINIMAL, "optimizer.lr=3.0E-4").optimizer().learningRate()).isEqualTo(3e-4);
    assertThat(parse(MINIMAL, "optimizer.lr=.5").optimizer().learningRate()).isEqualTo(0.5);
    assertThat(parse(MINIMAL, "optimizer.lr=1").optimizer().learningRate()).isEqualTo(1.0);
    assertThat(parse(MINIMAL, "seed=0x10").seed()).isEqualTo(16);
    assertThat(parse(MINIMAL, "seed=-5").seed()).isEqualTo(-5);
    assertThat(parse(MINIMAL, "seed=+5").seed()).isEqualTo(5);
  }

  @Test
  void anOverrideWinsAndTheLastOneWinsMost() {
    JobConfig config =
        parse(
            MINIMAL,
            "parallel.tensor=2",
            "sharding.zero=1",
            "optimizer.betas=[0.9,0.99]",
            "model.init.kind=reference",
            "steps=5",
            "steps=7",
            "log.report=out.json");

    assertThat(config.parallel().tensor()).isEqualTo(2);
    assertThat(config.sharding().zero()).isEqualTo(1);
    assertThat(config.optimizer().algorithm()).isEqualTo(new Optimizer.AdamW(0.9, 0.99, 1e-8));
    assertThat(config.transformer().init()).isEqualTo(new Init.Reference(20240601));
    assertThat(config.steps()).isEqualTo(7);
    assertThat(config.log().report()).contains("out.json");
  }

  @Test
  void anOverriddenKindDropsTheFilesKeysOfAnotherKind() {
    JobConfig config =
        parse(EVERYTHING, "data.kind=reference", "model.init.kind=reference", "optimizer.kind=sgd");

    assertThat(config.data()).isEqualTo(new Data.Reference(20240602));
    assertThat(config.transformer().init()).isEqualTo(new Init.Reference(20240601));
    assertThat(config.optimizer().algorithm()).isEqualTo(new Optimizer.Sgd(0, false));
  }

  @Test
  void nullTakesAnOptionalKeyOut() {
    JobConfig config =
        parse(EVERYTHING, "optimizer.clip_grad_norm=null", "checkpoint=null", "log.report=");

    assertThat(config.optimizer().clipGradNorm()).isEmpty();
    assertThat(config.checkpoint()).isEmpty();
    assertThat(config.log().report()).isEmpty();
  }

  @Test
  void anchorsAndAliasesAreAllowed() {
    String yaml = MINIMAL.replace("hidden: 64", "hidden: &width 64").replace("32", "*width");

    assertThat(parse(yaml).transformer().sequence()).isEqualTo(64);
  }

  @Test
  void aByteOrderMarkIsNoKey() {
    assertThat(parse("\uFEFF" + MINIMAL)).isEqualTo(parse(MINIMAL));
  }

  @Test
  void thePlanSaysHowManyRanksItWants() {
    assertThat(parse(MINIMAL, "parallel.data=2").parallel().worldSize())
        .isEqualTo(OptionalInt.of(2));
    assertThat(parse(MINIMAL, "parallel={data: 2, tensor: 2, pipeline: 3}").parallel().worldSize())
        .isEqualTo(OptionalInt.of(12));
    assertThat(parse(MINIMAL, "parallel.tensor=2").parallel().dataSize(8)).isEqualTo(4);
    assertThat(parse(MINIMAL).microBatchesPerStep(2)).isEqualTo(1);
  }

  @Test
  void theShippedPlansRun() throws Exception {
    Path folder = Path.of("..", "configs").toAbsolutePath();
    try (var files = Files.list(folder)) {
      for (Path file : files.filter(each -> each.toString().endsWith(".yaml")).toList()) {
        ParsedPlan plan = JobConfigParser.read(file, List.of());
        int worldSize = plan.config().parallel().worldSize().orElse(1);
        assertThat(JobConfigValidator.problemsOf(plan, worldSize)).as(file.toString()).isEmpty();
      }
    }
  }
}
