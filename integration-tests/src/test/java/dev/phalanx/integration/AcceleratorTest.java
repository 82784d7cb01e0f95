package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineNotFoundException;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.PretendedAccelerator;
import dev.phalanx.tensor.PretendedAccelerator.Timing;
import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.Devices;
import dev.phalanx.trainer.config.JobConfig.DeviceKind;
import dev.phalanx.trainer.generate.GenerationModel;
import dev.phalanx.trainer.generate.Sampling;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A job on a device whose memory the host cannot address and whose kernels run late gives, bit for
 * bit, what it gives on the CPU.
 */
@Timeout(300)
final class AcceleratorTest {
  private static final String PLAN =
      """
      precision: %s
      model: {family: %s, layers: 2, hidden: 32, heads: 4, sequence: 24, vocab: 256, dropout: %s}
      data: {kind: text, path: text.txt, tokenizer: bytes}
      batch: {global: 8, micro: 2}
      optimizer: {kind: %s, lr: 3.0e-3, clip_grad_norm: 1.0}
      steps: 6
      threads: 1
      communication: {bucket_mb: 0.02, compression: {%s}}
      sharding: {%s}
      checkpoint: {dir: %s, every: 3, async: %s}
      evaluation: {every: 2, batches: 2, fraction: 0.1}
      """;

  @TempDir private Path folder = Path.of("");

  @BeforeEach
  void writeText() throws IOException {
    Files.writeString(
        folder.resolve("text.txt"), "Call me Ishmael. Some years ago, never mind. ".repeat(200));
  }

  @Sample(4)
  @ParameterizedTest(name = "{0} {1} {3} on {4} ranks, async {5}, {6}, {7}, {8}")
  @CsvSource({
    "fp32, gpt2, 0.1, adamw, 1, true, 'zero: 0', 'kind: none', '{}'",
    "fp32, gpt2, 0.1, adamw, 2, false, 'zero: 0', 'kind: none', '{}'",
    "bf16, llama, 0, adamw, 2, true, 'zero: 0, offload: cpu', 'kind: none', '{}'",
    "fp32, llama, 0, sgd, 4, true, 'zero: 0', 'kind: none', '{}'",
    "fp32, gpt2, 0.1, adamw, 2, true, 'zero: 1, offload: cpu', 'kind: none', '{}'",
    "bf16, gpt2, 0.1, adamw, 2, false, 'zero: 2', 'kind: none', '{}'",
    "bf16, llama, 0, adamw, 4, true, 'zero: 3, shard_size: 2, offload: cpu', 'kind: none', '{}'",
    "fp32, llama, 0, adamw, 2, true, 'zero: 3', 'kind: none', '{}'",
    "fp32, gpt2, 0, adamw, 2, false, 'zero: 0', 'kind: onebit, warmup_steps: 2', '{}'",
    "bf16, llama, 0, adamw, 4, true, 'zero: 2, shard_size: 2', 'kind: powersgd, warmup_steps: 1',"
        + " '{}'",
    "fp16, gpt2, 0.1, lamb, 4, true, 'zero: 3, shard_size: 2, offload: cpu', 'kind: none', '{}'",
    "fp32, llama, 0, muon, 2, false, 'zero: 2', 'kind: none', '{}'",
    "fp16, gpt2, 0.1, muon, 2, true, 'zero: 3, offload: cpu', 'kind: none', '{}'",
    "bf16, llama, 0.1, adamw, 4, false, 'zero: 1', 'kind: none', '{context: 2, data: 2}'",
    "fp32, gpt2, 0.1, adamw, 4, true, 'zero: 0', 'kind: none', '{context: 2, tensor: 2}'",
    "fp32, gpt2, 0, adamw, 4, false, 'zero: 1', 'kind: none', '{tensor: 2, data: 2,"
        + " sequence_parallel: true}'"
  })
  void givesWhatTheCpuGives(
      String precision,
      String family,
      String dropout,
      String optimizer,
      int ranks,
      boolean isAsynchronous,
      String sharding,
      String compression,
      String parallel)
      throws Exception {
    String plan =
        PLAN.formatted(
            precision,
            family,
            dropout,
            optimizer,
            compression,
            sharding.replace(';', '\n'),
            "%s",
            isAsynchronous);
    String onCpu = plan.formatted("cpu");
    String onDevice = plan.formatted("cuda");
    InProcessJob.Run expected = InProcessJob.run(onCpu, ranks, folder, Optional.empty());

    InProcessJob.Run found =
        InProcessJob.run(onDevice, ranks, folder, Optional.empty(), AcceleratorTest::accelerated);

    assertThat(numbers(found)).isEqualTo(numbers(expected));
    assertThat(found.result().lastEvaluation()).isEqualTo(expected.result().lastEvaluation());
    assertSameCheckpoints();
    assertThat(generated(accelerated("auto", EngineOptions.singleThreaded()), "cuda"))
        .isEqualTo(generated(Engines.open("auto", EngineOptions.singleThreaded()), "cpu"));

    InProcessJob.Run resumed =
        InProcessJob.run(
            onDevice,
            ranks,
            folder,
            Optional.of(folder.resolve("cuda/step-000003")),
            AcceleratorTest::accelerated);
    assertThat(numbers(resumed)).isEqualTo(numbers(expected).subList(3, 6));
    assertSameCheckpoints();
  }

  @Test
  void ranksOfAHostTakeItsAcceleratorsInOrder() {
    try (Engine plain = Engines.open("auto", EngineOptions.singleThreaded());
        Engine accelerated = accelerated("auto", EngineOptions.singleThreaded())) {
      assertThat(Devices.choose(accelerated, DeviceKind.AUTO, 3))
          .isEqualTo(new Device(Device.Kind.CUDA, 3));
      assertThat(Devices.choose(accelerated, DeviceKind.CPU, 3)).isEqualTo(Device.CPU);
      assertThat(Devices.choose(plain, DeviceKind.AUTO, 3)).isEqualTo(Device.CPU);
      assertThatThrownBy(() -> Devices.choose(accelerated, DeviceKind.AUTO, 8))
          .isInstanceOf(EngineNotFoundException.class)
          .hasMessageContaining("cuda:8");
      assertThatThrownBy(() -> Devices.choose(plain, DeviceKind.CUDA, 0))
          .isInstanceOf(EngineNotFoundException.class)
          .hasMessageContaining("device: cpu");
    }
  }

  private static Engine accelerated(String name, EngineOptions options) {
    return PretendedAccelerator.over(Engines.open(name, options), Timing.WHEN_SYNCHRONIZED);
  }

  private static List<List<Double>> numbers(InProcessJob.Run run) {
    return run.steps().stream().map(step -> List.of(step.loss(), step.gradientNorm())).toList();
  }

  private void assertSameCheckpoints() {
    for (String file : List.of("model.safetensors", "optimizer.safetensors")) {
      assertThat(folder.resolve("cuda/step-000006").resolve(file))
          .hasSameBinaryContentAs(folder.resolve("cpu/step-000006").resolve(file));
    }
  }

  private List<Integer> generated(Engine engine, String checkpoint) throws IOException {
    try (engine;
        GenerationModel model =
            GenerationModel.ofCheckpoint(folder.resolve(checkpoint), folder, engine)) {
      return model
          .generator(60)
          .generate(new int[] {67, 97}, 50, Sampling.GREEDY, OptionalInt.empty(), token -> {});
    }
  }
}
