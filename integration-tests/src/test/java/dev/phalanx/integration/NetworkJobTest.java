package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.StepRecord;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.graph.MergeVertex;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.BatchNormalization;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

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

  /** In a run, what more steps send than fewer. */
  @Sample(3)
  @ParameterizedTest(name = "{0} ranks, {1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "1|",
        "2|",
        "3|optimizer: {kind: adamw, lr: 1.0e-2, clip_grad_norm: 0.5}",
        "4|optimizer: {kind: adamw, lr: 1.0e-2}, sharding: {zero: 1}",
        "3|optimizer: {kind: lamb, lr: 1.0e-2}, sharding: {zero: 1}",
        "2|communication: {algorithm: ring, compression: {kind: int8}}",
        "3|communication: {algorithm: ring, compression: {kind: powersgd, warmup_steps: 2}}",
      })
  void aPlanSaysWhatARunHoldsAndSends(int ranks, String more) throws Exception {
    String plan = PLAN + (more == null ? "" : more.replace("}, ", "}\n") + "\n");
    if (!plan.contains("algorithm")) {
      plan += "communication: {algorithm: ring}\n";
    }
    assertThatAPlanSaysWhatARunHoldsAndSends(plan, ranks);
  }

  /** Ranks also tell each other of each batch's statistics, in the midst of both passes. */
  @Test
  void aGraphThatNormalisesBatchesIsTrainedAsOnOneMachine() throws Exception {
    Files.writeString(folder.resolve("graph.json"), normalizingGraph().toJson());
    String plan = PLAN.replace("spirals.json", "graph.json");

    List<StepRecord> expected = InProcessJob.run(plan, 1, folder, Optional.empty()).steps();
    for (int ranks = 2; ranks <= 3; ranks++) {
      assertAlike(InProcessJob.run(plan, ranks, folder, Optional.empty()).steps(), expected);
    }
    assertThatAPlanSaysWhatARunHoldsAndSends(plan + "communication: {algorithm: ring}\n", 3);
  }

  private static ComputationGraphConfiguration normalizingGraph() {
    return new NeuralNetConfiguration.Builder()
        .seed(5)
        .updater(new Sgd(0.1))
        .graphBuilder()
        .addInputs("point")
        .addLayer("left", new DenseLayer.Builder().nOut(6).build(), "point")
        .addLayer("right", new DenseLayer.Builder().nOut(5).build(), "point")
        .addVertex("both", new MergeVertex(), "left", "right")
        .addLayer("normalized", new BatchNormalization(), "both")
        .addLayer("arm", new OutputLayer.Builder().nOut(3).build(), "normalized")
        .setOutputs("arm")
        .setInputTypes(InputType.feedForward(2))
        .build();
  }

  private void assertThatAPlanSaysWhatARunHoldsAndSends(String plan, int ranks) throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan);
    JsonNode shorter = run(plan.replace("steps: 20", "steps: 10"), ranks);
    JsonNode longer = run(plan, ranks);
    Command.Outcome outcome =
        Command.in(folder).run("plan", "plan.yaml", "--workers", "" + ranks, "--json");

    assertThat(outcome.status()).as(outcome.error()).isZero();
    JsonNode predicted = new ObjectMapper().readTree(outcome.output()).path("ranks").path(0);
    for (String what : List.of("gradient", "optimizer")) {
      assertThat(longer.path(what + "_bytes").longValue())
          .as(what)
          .isEqualTo(predicted.path(what + "_bytes").longValue());
    }
    assertThat(longer.path("parameter_bytes").longValue())
        .isPositive()
        .isEqualTo(predicted.path("weight_bytes").longValue());
    assertThat(longer.path("peak_activation_bytes").longValue())
        .isPositive()
        .isEqualTo(predicted.path("activation_bytes").longValue());
    for (String what : List.of("bytes_sent", "messages_sent")) {
      long sent =
          longer.path(what).path("data").longValue() - shorter.path(what).path("data").longValue();
      assertThat(sent).as(what).isEqualTo(10 * predicted.path(what).path("data").longValue());
    }
  }

  /** The report of rank 0, without evaluations, which ranks tell each other about. */
  private JsonNode run(String plan, int ranks) throws Exception {
    InProcessJob.run(
        plan.replace("evaluation: {every: 10, fraction: 0.2}", "evaluation: {every: 0}")
            .replace("checkpoint: {dir: saved, every: 6}\n", ""),
        ranks,
        folder,
        Optional.empty());
    return new ObjectMapper()
        .readTree(folder.resolve("report.json").toFile())
        .path("ranks")
        .path(0);
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
      boolean isRest = step.path("step").intValue() % 8 == 0;
      assertThat(step.path("samples").intValue()).isEqualTo(isRest ? 32 : 64);
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
  @CsvSource(
      delimiter = '|',
      value = {
        "''                                                                  | 2",
        "'communication: {compression: {kind: threshold}}'                   | 2",
        "'communication: {compression: {kind: threshold, min_density: 0.01, max_density: 0.1}}' |"
            + " 2",
        "'optimizer: {kind: lamb, lr: 1.0e-2}\nsharding: {zero: 1}'          | 3",
      })
  void aJobGoesOnExactlyWhereItsCheckpointIs(String more, int ranks) throws Exception {
    List<StepRecord> whole = steps(more, ranks);
    List<StepRecord> rest = rest("saved/step-000012", more, ranks);
    assertThat(rest).hasSize(8);
    for (int step = 0; step < 8; step++) {
      assertThat(rest.get(step).loss())
          .as("step %s", step + 13)
          .isEqualTo(whole.get(step + 12).loss());
    }
  }

  private List<StepRecord> rest(String from, String more, int ranks) throws Exception {
    Path saved = folder.resolve(from);
    return InProcessJob.run(PLAN + more + "\n", ranks, folder, Optional.of(saved)).steps();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "global: 64    | global: 60",
        "classes: 3    | classes: 3, seed: 5",
        "classes: 3    | classes: 3, normalize: standard",
        "classes: 3    | classes: 3, features: [y, x]",
        "fraction: 0.2 | fraction: 0.21",
      })
  void aCheckpointOfOtherDataIsRefusedBeforeAnythingChanges(String before, String after)
      throws Exception {
    steps("", 1);
    Path saved = folder.resolve("saved");
    assertThatThrownBy(
            () -> InProcessJob.run(PLAN.replace(before, after), 2, folder, Optional.of(saved)))
        .rootCause()
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining("does not fit the plan")
        .hasMessageContaining("480 training samples")
        .hasMessageContaining("64 a step, in the order of seed 1234, from iteration 0");
    assertThat(saved.resolve("step-000020")).exists();
  }

  /** At the end of an epoch, by other numbers of ranks, and with a rank that has no sample. */
  @ParameterizedTest
  @CsvSource({"64, 8, 1, 2", "64, 8, 3, 1", "2, 10, 2, 3"})
  void otherNumbersOfRanksGoOn(int batch, int every, int before, int after) throws Exception {
    String plan =
        PLAN.replace("global: 64", "global: " + batch).replace("every: 6", "every: " + every);
    List<StepRecord> whole = InProcessJob.run(plan, before, folder, Optional.empty()).steps();
    Path saved = folder.resolve("saved/step-%06d".formatted(every));
    List<StepRecord> rest = InProcessJob.run(plan, after, folder, Optional.of(saved)).steps();
    assertAlike(rest, whole.subList(every, whole.size()));
  }

  /** Whose iterations and updater go on, and whose checkpoints can be gone on from. */
  @Test
  void aTrainedNetworkIsWhereAnotherJobBegins() throws Exception {
    List<StepRecord> first = steps("", 1);
    Files.copy(folder.resolve("saved/step-000020/network.zip"), folder.resolve("trained.zip"));
    String plan = PLAN.replace("spirals.json", "trained.zip");
    List<StepRecord> second = InProcessJob.run(plan, 2, folder, Optional.empty()).steps();
    assertThat(second.get(0).loss()).isCloseTo(first.get(19).loss(), within(0.15));
    List<StepRecord> rest =
        InProcessJob.run(plan, 2, folder, Optional.of(folder.resolve("saved/step-000032"))).steps();
    assertThat(rest.get(0).step()).isEqualTo(13);
    assertThat(rest.get(0).loss()).isEqualTo(second.get(12).loss());
  }

  private Path report() {
    return folder.resolve("report.json");
  }

  /** The vote of one rank stops all after the same step. */
  @Test
  void aJobThatIsAskedToStopSavesAndGoesOn() throws Exception {
    try (Command.Started job =
        Command.in(folder)
            .start("train", "plan.yaml", "--workers", "2", "--set", "steps=1000000")) {
      job.awaitErrorLine(line -> line.contains("step 6  checkpoint saved"));
      assertThat(job.workers(2).get(1).destroy()).isTrue();
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(80);
    }
    int done = new ObjectMapper().readTree(report().toFile()).path("steps").size();
    JsonNode rest = train(2, "--resume", "saved", "--set", "steps=" + (done + 2));
    assertThat(rest.path("steps").path(0).path("step").intValue()).isEqualTo(done + 1);
  }

  /** A run that is killed before its first save must not be taken for the one before it. */
  @Test
  void aNewRunSetsEarlierCheckpointsAsideAtOnce() throws Exception {
    train(1);
    Command.Outcome outcome =
        Command.in(folder)
            .run("train", "plan.yaml", "--quiet", "--set", "optimizer={kind: sgd, lr: 1.0e+39}");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(78);
    assertThat(outcome.error()).contains("This is a new run");
    assertThat(folder.resolve("saved.old-1/step-000020")).exists();
    assertThat(folder.resolve("saved/step-000020")).doesNotExist();
  }

  @Test
  void numbersArePredictedAndNormalizersKept() throws Exception {
    StringBuilder rows = new StringBuilder();
    for (int row = 0; row < 100; row++) {
      rows.append(row).append(";").append(1000 - row).append(";0.1;0.2;0.7\n");
    }
    Files.writeString(folder.resolve("numbers.csv"), rows);
    String data =
        "{kind: csv, path: numbers.csv, delimiter: ';', label: [2, 3, 4], normalize: standard}";
    String plan = PLAN.replaceFirst("data: .*", "data: " + data);
    Evaluation evaluation =
        InProcessJob.run(plan, 2, folder, Optional.empty()).result().lastEvaluation().orElseThrow();
    assertThat(evaluation.items()).isEqualTo(20);
    assertThat(evaluation.accuracy()).isEmpty();
    try (ZipFile zip = new ZipFile(folder.resolve("saved/step-000020/network.zip").toFile())) {
      assertThat(zip.stream().map(ZipEntry::getName)).contains("normalizer.bin");
    }
  }

  @Test
  void aWorkerThatIsKilledIsNamedAndTheJobGoesOn() throws Exception {
    Path checkpoint;
    try (Command.Started job =
        Command.in(folder)
            .start("train", "plan.yaml", "--workers", "2", "--set", "steps=1000000")) {
      job.awaitErrorLine(line -> line.contains("step 6  checkpoint saved"));
      List<ProcessHandle> workers = job.workers(2);
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
    JsonNode report = train(2, "--resume", "saved", "--set", "steps=" + (done + 3));
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
    String plan =
        PLAN.replaceFirst("data: .*", "data: {kind: idx, path: .}")
            .replaceFirst("evaluation: .*", "");
    Evaluation evaluation =
        InProcessJob.run(plan, 2, folder, Optional.empty()).result().lastEvaluation().orElseThrow();
    assertThat(evaluation.items()).as("though no evaluation is asked for").isEqualTo(30);
    assertThat(evaluation.accuracy().orElseThrow()).isGreaterThan(0.9);
  }

  /** Whose layers take rows and columns, as idx files have them. */
  @Test
  void aConvolutionalNetworkTakesImages() throws Exception {
    Files.writeString(
        folder.resolve("images.json"),
        new NeuralNetConfiguration.Builder()
            .seed(7)
            .updater(new Adam(0.05))
            .list()
            .layer(new ConvolutionLayer.Builder(2, 2).nOut(4).build())
            .layer(
                new OutputLayer.Builder(LossFunction.MCXENT)
                    .nOut(3)
                    .activation(Activation.SOFTMAX)
                    .build())
            .setInputType(InputType.convolutional(2, 2, 1))
            .build()
            .toJson());
    writeImages("train", 90, 3);
    writeImages("t10k", 30, 3);
    String plan =
        PLAN.replace("spirals.json", "images.json")
            .replaceFirst("data: .*", "data: {kind: idx, path: .}");
    Files.writeString(folder.resolve("plan.yaml"), plan);

    Evaluation evaluation =
        InProcessJob.run(plan, 2, folder, Optional.empty()).result().lastEvaluation().orElseThrow();
    assertThat(evaluation.accuracy().orElseThrow()).isGreaterThan(0.9);
    Command.Outcome told = Command.in(folder).run("plan", "plan.yaml", "--workers", "2");
    assertThat(told.status()).as(told.error()).isZero();
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
        "data.delimiter='\"'         | 64 | data.delimiter | expected one character, no quotation",
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

  /** Our optimizers have a weight decay of their own. */
  @Test
  void aRegularisedNetworkIsRefusedByOurOptimizersAndTrainedByItsOwn() throws Exception {
    Path network = folder.resolve("spirals.json");
    String l2 =
        "\"regularization\" : [ { \"@class\" :"
            + " \"org.nd4j.linalg.learning.regularization.L2Regularization\", \"l2\" : { \"@class\""
            + " : \"org.nd4j.linalg.schedule.FixedSchedule\", \"value\" : 0.01 } } ]";
    Files.writeString(network, Files.readString(network).replace("\"regularization\" : [ ]", l2));
    Command.Outcome outcome =
        Command.in(folder)
            .run("train", "plan.yaml", "--quiet", "--set", "optimizer={kind: adamw, lr: 1e-2}");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(64);
    assertThat(outcome.error()).contains("is regularised by");
    assertAlike(steps("", 2), steps("", 1));
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
    String cluster = PROJECT.resolve("configs/clusters/dgx-h100.yaml").toString();
    for (List<String> more : List.of(List.<String>of(), List.of("--search"))) {
      List<String> command = new ArrayList<>(List.of("plan", "plan.yaml", "--cluster", cluster));
      command.addAll(more);
      Command.Outcome plan = Command.in(folder).run(command.toArray(String[]::new));
      assertThat(plan.status()).isEqualTo(64);
      assertThat(plan.error()).contains("model.family is deeplearning4j").hasLineCount(1);
    }
    Command.Outcome told = Command.in(folder).run("plan", "plan.yaml", "--workers", "4");
    assertThat(told.status()).as(told.error()).isZero();
    assertThat(told.output())
        .contains("64 samples a step", "mesh: 4 ranks = data 4", "optimizer", "all_reduce");
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
