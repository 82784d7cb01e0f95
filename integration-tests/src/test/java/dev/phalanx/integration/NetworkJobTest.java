package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.StepRecord;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Plans whose model is a network of Deeplearning4j. */
@Timeout(300)
final class NetworkJobTest {
  private static final Path PROJECT = Path.of("..").toAbsolutePath().normalize();

  /** An epoch of 480 samples is 7 batches and a rest of 32. */
  private static final String PLAN =
      """
      model: {family: deeplearning4j, path: spirals.json}
      data: {kind: csv, path: spirals.csv, label: arm, classes: 3}
      batch: {global: 64}
      steps: 20
      evaluation: {every: 10, fraction: 0.2}
      checkpoint: {dir: saved, every: 6}
      log: {every: 1, report: report.json}
      """;

  @TempDir private Path folder = Path.of("");

  @BeforeEach
  void giveNetworkAndData() throws IOException {
    Files.copy(PROJECT.resolve("configs/networks/spirals.json"), folder.resolve("spirals.json"));
    Files.copy(PROJECT.resolve("data/spirals.csv"), folder.resolve("spirals.csv"));
    Files.writeString(folder.resolve("plan.yaml"), PLAN);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "optimizer: {kind: adamw, lr: 1.0e-2, clip_grad_norm: 0.5}",
        "optimizer: {kind: sgd, lr: 1.0e-1, momentum: 0.9, schedule: {kind: cosine}}",
      })
  void ranksGiveTheStepsOfOne(String optimizer) throws Exception {
    List<StepRecord> expected = steps(optimizer, 1);
    assertThat(expected).hasSize(20);
    assertThat(expected.get(19).loss()).isLessThan(expected.get(0).loss());
    for (int ranks = 2; ranks <= 3; ranks++) {
      assertAlike(steps(optimizer, ranks), expected);
    }
    if (!optimizer.isEmpty()) { // then its state may be divided
      assertAlike(steps(optimizer + "\nsharding: {zero: 1}", 2), expected);
    }
  }

  private List<StepRecord> steps(String more, int ranks) throws Exception {
    return InProcessJob.run(PLAN + more + "\n", ranks, folder, Optional.empty()).steps();
  }

  /** Sums in another order differ in their last bits, which twenty steps carry on. */
  private static void assertAlike(List<StepRecord> found, List<StepRecord> expected) {
    assertThat(found).hasSameSizeAs(expected);
    for (int step = 0; step < expected.size(); step++) {
      StepRecord own = found.get(step);
      StepRecord other = expected.get(step);
      assertThat(own.loss()).as("loss %s", step).isCloseTo(other.loss(), within(1e-5));
      assertThat(own.gradientNorm())
          .as("norm %s", step)
          .isCloseTo(other.gradientNorm(), within(1e-4 * other.gradientNorm()));
      assertThat(own.learningRate()).isEqualTo(other.learningRate());
    }
  }

  @Test
  void aReportSpeaksOfSamples() throws Exception {
    JsonNode report = train(2);
    assertThat(report.path("engine").asText()).isEqualTo("nd4j");
    for (JsonNode step : report.path("steps")) {
      assertThat(step.path("samples").intValue()).isEqualTo(64);
      assertThat(step.path("lr").doubleValue()).isEqualTo(0.01);
      assertThat(step.has("tokens")).isFalse();
    }
    for (JsonNode evaluation : report.path("evaluations")) {
      assertThat(evaluation.path("samples").intValue()).isEqualTo(120);
      assertThat(evaluation.path("accuracy").doubleValue()).isBetween(0.3, 1.0);
    }
    assertThat(report.path("evaluations")).hasSize(2);
    for (JsonNode rank : report.path("ranks")) {
      assertThat(rank.path("parameter_bytes").intValue()).isEqualTo(4 * 1251);
      assertThat(rank.path("optimizer_bytes").intValue()).as("Adam's").isEqualTo(2 * 4 * 1251);
      assertThat(rank.path("bytes_sent").path("data").longValue())
          .as("the gradients of 20 steps, and numbers")
          .isBetween(20L * 4 * 1251, 20L * (4 * 1251 + 1000));
    }
  }

  @ParameterizedTest
  @CsvSource({"'', 2", "'communication.compression={kind: threshold}', 2", "sharding.zero=1, 3"})
  void aJobGoesOnExactlyWhereItsCheckpointIs(String override, int ranks) throws Exception {
    String[] more =
        override.contains("zero")
            ? new String[] {"--set", override, "--set", "optimizer={kind: lamb, lr: 1e-2}"}
            : override.isEmpty() ? new String[0] : new String[] {"--set", override};
    JsonNode whole = train(ranks, more);
    JsonNode rest = train(ranks, resumed("saved/step-000012", more));
    assertThat(rest.path("steps")).hasSize(8);
    for (int step = 0; step < 8; step++) {
      assertThat(rest.path("steps").path(step).path("loss"))
          .as("step %s", step + 13)
          .isEqualTo(whole.path("steps").path(step + 12).path("loss"));
    }
  }

  private static String[] resumed(String from, String... more) {
    String[] all = new String[more.length + 2];
    all[0] = "--resume";
    all[1] = from;
    System.arraycopy(more, 0, all, 2, more.length);
    return all;
  }

  @Test
  void aCheckpointOfOtherDataIsRefused() throws Exception {
    train(1);
    for (String override : List.of("batch.global=60", "data.seed=5", "evaluation.fraction=0.21")) {
      Command.Outcome outcome =
          Command.in(folder).run("train", "plan.yaml", "--quiet", "--resume", "--set", override);
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
      assertThat(outcome.error())
          .contains("does not fit the plan", "samples=480, batch=64, seed=1234");
    }
  }

  @Test
  void aWorkerThatIsKilledIsNamedAndTheJobGoesOn() throws Exception {
    Path checkpoint;
    try (Command.Started job =
        Command.in(folder)
            .start("train", "plan.yaml", "--workers", "2", "--set", "steps=1000000")) {
      job.awaitErrorLine(line -> line.contains("step 6  checkpoint saved"));
      List<ProcessHandle> workers = job.handle().children().sorted().toList();
      assertThat(workers.get(1).destroyForcibly()).isTrue();
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(70);
      assertThat(outcome.error()).contains("rank 1/2", "pid " + workers.get(1).pid());
      assertThat(workers).noneMatch(ProcessHandle::isAlive);
      try (Stream<Path> saved = Files.list(folder.resolve("saved"))) {
        checkpoint = saved.filter(NetworkJobTest::isCheckpoint).max(Path::compareTo).orElseThrow();
      }
    }
    int done = Integer.parseInt(checkpoint.getFileName().toString().replace("step-", ""));
    JsonNode report = train(2, resumed("saved", "--set", "steps=" + (done + 3)));
    assertThat(report.path("steps")).hasSize(3);
    assertThat(report.path("steps").path(0).path("step").intValue()).isEqualTo(done + 1);
  }

  private static boolean isCheckpoint(Path file) {
    return file.getFileName().toString().matches("step-[0-9]+");
  }

  @Test
  void imagesAreReadFromAFolderWithTheirTestImages() throws Exception {
    Path network = folder.resolve("spirals.json");
    Files.writeString(
        network, Files.readString(network).replaceFirst("\"nin\" : 2", "\"nin\" : 4"));
    writeImages("train", 90, 3);
    writeImages("t10k", 30, 2); // of fewer classes
    JsonNode report = train(2, "--set", "data={kind: idx, path: .}", "--set", "evaluation=null");
    JsonNode evaluation = report.path("evaluations").path(0);
    assertThat(evaluation.path("step").intValue()).as("at the end").isEqualTo(20);
    assertThat(evaluation.path("samples").intValue()).isEqualTo(30);
    assertThat(evaluation.path("accuracy").doubleValue()).isGreaterThan(0.9);
  }

  /** Images of 2 x 2 pixels, one of which is bright and says the class. */
  private void writeImages(String part, int count, int classes) throws IOException {
    ByteBuffer images = ByteBuffer.allocate(16 + 4 * count);
    images.putInt(0x803).putInt(count).putInt(2).putInt(2);
    ByteBuffer labels = ByteBuffer.allocate(8 + count);
    labels.putInt(0x801).putInt(count);
    for (int image = 0; image < count; image++) {
      byte[] pixels = new byte[4];
      pixels[image % classes] = (byte) 255;
      images.put(pixels);
      labels.put((byte) (image % classes));
    }
    Files.write(folder.resolve(part + "-images-idx3-ubyte"), images.array());
    Files.write(folder.resolve(part + "-labels-idx1-ubyte"), labels.array());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "data.label=colour         | 64 | data.label: | has no column \"colour\". It has x, y,"
            + " arm.",
        "data.features=[x, z]      | 64 | data.features: | has no column \"z\"",
        "data.classes=2            | 74 | data.path: | line 5, column \"arm\" is \"blue\"",
        "data.path=none.csv        | 74 | none.csv | there is no file",
        "model.path=none.zip       | 74 | none.zip | there is no file",
        "model.path=spirals.csv    | 76 | spirals.csv is no network of Deeplearning4j | no JSON",
        "data.features=x           | 64 | does not take samples of 1 features | ",
        "data.label=[x, y]         | 64 | data.classes: | write one label and its classes",
        "communication.compression={kind: onebit} | 64 | sums momenta | write another kind",
      })
  void badInputIsNamedWithTheRightStatus(String override, int status, String expected, String other)
      throws Exception {
    Command.Outcome outcome =
        Command.in(folder).run("train", "plan.yaml", "--quiet", "--set", override);
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(status);
    assertThat(outcome.error()).contains(expected).doesNotContain("Exception");
    if (other != null) {
      assertThat(outcome.error()).contains(other);
    }
  }

  /** As training does in its place where gradients become none. */
  @Test
  void aLossThatIsNoNumberEndsTheJob() throws Exception {
    Command.Outcome outcome =
        Command.in(folder)
            .run(
                "train",
                "plan.yaml",
                "--quiet",
                "--set",
                "optimizer={kind: sgd, lr: 1.0e+39}",
                "--workers",
                "2");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(78);
    assertThat(outcome.error()).contains("gradient norm", "stopped before the update");
  }

  @Test
  void planAndGenerateSayWhatTheyAreFor() throws Exception {
    Command.Outcome plan = Command.in(folder).run("plan", "plan.yaml");
    assertThat(plan.status()).isEqualTo(64);
    assertThat(plan.error()).contains("phalanx plan predicts transformers");
    train(1);
    assertThat(Command.in(folder).run("checkpoint", "verify", "saved").status()).isZero();
    Command.Outcome generate =
        Command.in(folder).run("generate", "--checkpoint", "saved", "--tokens", "1");
    assertThat(generate.status()).isEqualTo(76);
    assertThat(generate.error()).contains("network.zip").hasLineCount(1);
  }

  /** By the command, a process for each rank. */
  private JsonNode train(int ranks, String... more) throws Exception {
    List<String> command = new ArrayList<>(List.of("train", "plan.yaml", "--quiet", "--workers"));
    command.add(Integer.toString(ranks));
    command.addAll(List.of(more));
    Command.Outcome outcome = Command.in(folder).run(command.toArray(String[]::new));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }
}
