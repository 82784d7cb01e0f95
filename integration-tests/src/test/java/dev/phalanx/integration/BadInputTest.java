package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.checkpoint.LocalCheckpointStore;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is wrong gets one clear message and the right exit status; nothing is lost. */
@Timeout(120)
final class BadInputTest {
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 16, heads: 2, sequence: 8, vocab: 256}
      data: {kind: text, path: text.txt, tokenizer: bytes}
      batch: {global: 4, micro: 2}
      optimizer:
        kind: adamw
        lr: 1.0e-3
        schedule: {kind: constant}
      steps: 2
      threads: 1
      checkpoint: {dir: checkpoints, every: 1}
      """;

  @TempDir private Path folder = Path.of("");

  @BeforeEach
  void writeText() throws IOException {
    Files.writeString(folder.resolve("text.txt"), "All happy families are alike. ".repeat(40));
  }

  /** What is replaced in the plan, by what, and what the message must hold. */
  static Stream<Arguments> wrongPlans() {
    return Stream.of(
        wrong("steps: 2", "stepz: 2", "plan.yaml:8:1", "stepz", "steps"),
        wrong("layers: 1", "layer: 1", "plan.yaml:1:23", "layer", "layers"),
        wrong("kind: constant", "knd: constant", "plan.yaml:7:14", "knd", "kind"),
        wrong("steps: 2", "steps: two", "plan.yaml:8:8", "steps", "two"),
        wrong("hidden: 16", "hidden: [16]", "model.hidden"),
        wrong("text.txt", "nowhere.txt", "plan.yaml:2:26: data.path: ", "nowhere.txt"),
        wrong("global: 4", "global: 5", "batch", "accumulation"),
        wrong("micro: 2", "micro: 5, uneven: true", "batch.micro", "4"),
        wrong("vocab: 256", "vocab: 100", "vocab", "100"),
        wrong("steps: 2", "steps: 2\nsteps: 3", "plan.yaml:9:1", "steps", "8"),
        wrong("steps: 2", "steps: 2\nengine: cobol", "cobol", "torch"),
        wrong("heads: 2", "heads: 3", "heads"),
        wrong("steps: 2", "steps: 2\n  x: [", "plan.yaml:"),
        wrong("threads: 1", "threads: 1\nsharding: {shard_size: 3}", "sharding.shard_size", "zero"),
        wrong(
            "steps: 2", "steps: 2\nparallel: {tensor: 65536, pipeline: 65536}", "4294967296 ranks"),
        wrong("vocab: 256", "vocab: 256, ffn_hidden: 1500000000", "model.ffn_hidden"),
        wrong(
            "threads: 1",
            "threads: 1\ncommunication: {compression: {kind: threshold, threshold: 1.0e-50}}",
            "communication.compression.threshold"),
        wrong("bytes", "missing/tokenizer.json", "missing/tokenizer.json"));
  }

  private static Arguments wrong(String right, String wrong, String... message) {
    return Arguments.of(right, wrong, List.of(message));
  }

  @ParameterizedTest(name = "{1}")
  @MethodSource("wrongPlans")
  void aWrongPlanIsRefusedBeforeAProcessStarts(String right, String wrong, List<String> message)
      throws Exception {
    Command.Outcome outcome = train(PLAN.replace(right, wrong));
    assertThat(outcome.status()).as(outcome.error()).isIn(64, 74);
    assertThat(outcome.status() == 74)
        .as("only what cannot be read is no matter of the plan")
        .isEqualTo(wrong.contains("nowhere") || wrong.contains("missing"));
    assertThat(outcome.error()).contains(message);
    assertOneMessage(outcome);
    assertThat(folder.resolve("checkpoints")).doesNotExist();
  }

  @Test
  void allErrorsComeAtOnce() throws Exception {
    Command.Outcome outcome =
        train(PLAN.replace("layers", "layer").replace("steps: 2", "steps: x").replace("lr", "rl"));
    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error().lines().filter(line -> line.contains("plan.yaml:")))
        .hasSizeGreaterThanOrEqualTo(3);
  }

  /** A misspelt key does not hide that the batch does not divide or a feature is not there. */
  @Test
  void mistakesInWritingAndInMeaningComeAtOnce() throws Exception {
    Command.Outcome outcome =
        train(PLAN.replace("layers", "layer") + "device: cuda\nsharding: {shard_size: 2}\n");
    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error()).contains("'layers'", "device cuda", "sharding.shard_size");
  }

  /** What is wrong is not used to find others wrong. */
  @Test
  void aMistakeBringsNoFalseOne() throws Exception {
    Command.Outcome ranks =
        train(PLAN + "parallel: {data: 8.5}\nsharding: {zero: 2, shard_size: 4}\n");
    assertThat(ranks.status()).isEqualTo(64);
    assertThat(ranks.error()).contains("parallel.data").doesNotContain("shard_size");
    Command.Outcome optimizer =
        train(
            PLAN.replace("kind: adamw", "kind: sdg")
                + "communication: {compression: {kind: topk, momentum: 0.9}}\n");
    assertThat(optimizer.status()).isEqualTo(64);
    assertThat(optimizer.error()).contains("optimizer.kind").doesNotContain("topk");
  }

  @Test
  void weightsThatCallThemselvesWholeNumbersAreRefused() throws Exception {
    copyModel("hf-tiny-gpt2", folder.resolve("model"));
    Path weights = folder.resolve("model/model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    String header = new String(bytes, StandardCharsets.ISO_8859_1);
    Files.write(
        weights, header.replaceFirst("\"F32\"", "\"I32\"").getBytes(StandardCharsets.ISO_8859_1));
    Command.Outcome outcome =
        Command.in(folder).run("generate", "--hf", "model", "--tokens", "1,2", "--json");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains("whole numbers");
    assertOneMessage(outcome);
  }

  @Test
  void aModelThatCannotBeIsABadWeightsFile() throws Exception {
    copyModel("hf-tiny-gpt2", folder.resolve("model"));
    assertConfigurationIsRefused("n_head", "7");
  }

  @ParameterizedTest(name = "{0}: {1}")
  @CsvSource({
    "n_layer, 2147483647",
    "n_layer, 100000",
    "n_embd, 1099511627776",
    "n_positions, 1073741824",
    "vocab_size, 1099511627776",
    "vocab_size, 9223372036854775807"
  })
  void aConfigurationOfHugeSizesTakesNoMemory(String key, String size) throws Exception {
    copyModel("hf-tiny-gpt2", folder.resolve("model"));
    assertConfigurationIsRefused(key, size);
  }

  private void assertConfigurationIsRefused(String key, String number) throws Exception {
    Path config = folder.resolve("model/config.json");
    Files.writeString(
        config,
        Files.readString(config)
            .replaceFirst("\"" + key + "\": *[0-9]+", "\"" + key + "\": " + number));
    Command.Outcome outcome =
        Command.in(folder).run("generate", "--hf", "model", "--tokens", "1,2", "--json");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains("config.json");
    assertOneMessage(outcome);
  }

  @ParameterizedTest
  @CsvSource({
    "tied_embeddings, true",
    "norm_eps, 1.0e-3",
    "rope_theta, 500",
    "layers, 3",
    "rope_scaling, '{kind: llama3, factor: 8, original_sequence: 16}'"
  })
  void aPlanThatContradictsTheWeightsIsRefused(String key, String value) throws Exception {
    copyModel("hf-tiny-llama", folder.resolve("model"));
    Command.Outcome outcome =
        train(
            PLAN.replaceFirst(
                "model: .*",
                "model: {family: llama, sequence: 8, "
                    + key
                    + ": "
                    + value
                    + ", init: {kind: hf, path: model}}"));
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains("model." + key, "config.json");
    assertOneMessage(outcome);
  }

  @ParameterizedTest
  @CsvSource({
    "yarn, 'type ''yarn'''",
    "llama3, rope_parameters.factor is missing",
  })
  void rotaryPositionsOfAnotherKindAreRefused(String kind, String message) throws Exception {
    copyModel("hf-tiny-llama", folder.resolve("model"));
    Path config = folder.resolve("model/config.json");
    Files.writeString(config, Files.readString(config).replace("\"default\"", '"' + kind + '"'));
    Command.Outcome outcome =
        Command.in(folder).run("generate", "--hf", "model", "--tokens", "1,2", "--json");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains("config.json", message);
    assertOneMessage(outcome);
  }

  @Test
  void aMissingPlanFileIsNamed() throws Exception {
    Command.Outcome outcome = Command.in(folder).run("train", "nothing.yaml");
    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error()).contains("nothing.yaml");
    assertOneMessage(outcome);
  }

  @ParameterizedTest
  @ValueSource(strings = {"train", "plan"})
  void noWorkersAtAllAreRefused(String command) throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), PLAN);
    Command.Outcome outcome = Command.in(folder).run(command, "plan.yaml", "--workers", "0");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(64);
    assertThat(outcome.error()).contains("--workers is 0; write a number from 1");
    assertOneMessage(outcome);
  }

  @Test
  void anUnknownOptionIsWrongUsage() throws Exception {
    Command.Outcome outcome = Command.in(folder).run("train", "plan.yaml", "--worker", "2");
    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error()).contains("--worker");
  }

  @Test
  void aPortInUseIsBusy() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      Files.writeString(folder.resolve("plan.yaml"), PLAN);
      Command.Outcome outcome =
          Command.in(folder)
              .run("train", "plan.yaml", "--workers", "2", "--port", port(taken), "--quiet");
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(75);
      assertThat(outcome.error()).contains(port(taken));
      assertOneMessage(outcome);
    }
  }

  private static String port(ServerSocket socket) {
    return Integer.toString(socket.getLocalPort());
  }

  @Test
  void aVerboseRunShowsTheStackTrace() throws Exception {
    Files.createDirectories(folder.resolve("bad"));
    Files.writeString(folder.resolve("bad/config.json"), "{");
    String[] arguments = {"generate", "--hf", "bad", "--tokens", "1"};
    assertThat(Command.in(folder).run(arguments).error()).doesNotContain("\tat ");
    String[] verbose =
        Stream.concat(Stream.of(arguments), Stream.of("--verbose")).toArray(String[]::new);
    assertThat(Command.in(folder).run(verbose).error()).contains("\tat dev.phalanx.");
  }

  static Stream<Arguments> damages() {
    return Stream.of(
        Arguments.of("cut off", (Damage) file -> file.setLength(file.length() - 100)),
        Arguments.of("cut in the header", (Damage) file -> file.setLength(60)),
        Arguments.of("empty", (Damage) file -> file.setLength(0)),
        Arguments.of("longer", (Damage) file -> file.setLength(file.length() + 4)),
        Arguments.of("header of 2^62 bytes", (Damage) file -> write(file, 7, 0x40)),
        Arguments.of("header without its brace", (Damage) file -> write(file, 8, 'x')));
  }

  /** Something that happens to a file. */
  interface Damage {
    void to(RandomAccessFile file) throws IOException;
  }

  private static void write(RandomAccessFile file, long position, int value) throws IOException {
    file.seek(position);
    file.write(value);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("damages")
  void aDamagedWeightsFileIsRefused(String kind, Damage damage) throws Exception {
    copyModel("hf-tiny-gpt2", folder.resolve("model"));
    Path weights = folder.resolve("model/model.safetensors");
    try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
      damage.to(file);
    }
    Command.Outcome outcome =
        Command.in(folder)
            .run("generate", "--hf", "model", "--tokens", "1,2", "--max-tokens", "1", "--json");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains("model.safetensors");
    assertThat(outcome.output()).isEmpty();
    assertOneMessage(outcome);
  }

  @Test
  void aTamperedCheckpointIsRefusedOnResumeAndByVerify() throws Exception {
    trainHere();
    Path weights = folder.resolve("checkpoints/step-000002/model.safetensors");
    try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
      file.seek(file.length() - 5);
      int old = file.read();
      write(file, file.length() - 5, old ^ 1);
    }
    for (List<String> arguments :
        List.of(
            List.of("train", "plan.yaml", "--quiet", "--resume", "--set", "steps=4"),
            List.of("checkpoint", "verify", "checkpoints/step-000002"))) {
      Command.Outcome outcome = Command.in(folder).run(arguments.toArray(String[]::new));
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
      assertThat(outcome.error()).contains("model.safetensors");
      assertOneMessage(outcome);
    }
    Command.Outcome earlier =
        Command.in(folder)
            .run(
                "train",
                "plan.yaml",
                "--quiet",
                "--resume",
                "checkpoints/step-000001",
                "--set",
                "steps=4");
    assertThat(earlier.status()).as(earlier.error()).isEqualTo(0);
  }

  @Test
  void aPlanThatDoesNotFitTheCheckpointIsRefused() throws Exception {
    trainHere();
    Command.Outcome outcome =
        Command.in(folder)
            .run("train", "plan.yaml", "--resume", "--quiet", "--set", "model.hidden=32");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains("model.hidden", "16", "32");
    assertOneMessage(outcome);
  }

  @ParameterizedTest
  @CsvSource({
    "data.seed=7, data.seed",
    "model.norm_eps=1.0e-3, model.norm_eps",
    "evaluation={every: 1; fraction: 0.5}, evaluation.every",
    "data={kind: reference}, data.seed",
    "data.path=other.txt, does not fit the data"
  })
  void otherDataOrAnotherModelIsNotGoneOnWith(String override, String message) throws Exception {
    Files.writeString(folder.resolve("other.txt"), "Happy families are all alike. ".repeat(50));
    trainHere();
    Command.Outcome outcome = goOnWith(override.replace(';', ','));
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains(message, "--resume");
    assertOneMessage(outcome);
  }

  @Test
  void momentumIsNotGoneOnWithWhereThereWasNone() throws Exception {
    String plan = PLAN.replace("kind: adamw", "kind: sgd");
    Files.writeString(folder.resolve("plan.yaml"), plan);
    InProcessJob.run(plan, 1, folder, Optional.empty());
    Command.Outcome outcome = goOnWith("optimizer.momentum=0.9");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(76);
    assertThat(outcome.error()).contains("optimizer.momentum was 0.0 and is 0.9 now");
    assertOneMessage(outcome);
  }

  @Test
  void theDataMayHaveMoved() throws Exception {
    trainHere();
    Files.move(folder.resolve("text.txt"), folder.resolve("moved.txt"));
    Command.Outcome outcome = goOnWith("data.path=moved.txt");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(0);
  }

  @Test
  void aTokenFileOfAnotherTokenizerIsRefused() throws Exception {
    Command.Outcome prepared =
        Command.in(folder)
            .run("data", "prepare", "text.txt", "--tokenizer", "gpt2", "--output", "text.tokens");
    assertThat(prepared.status()).as(prepared.error()).isEqualTo(0);
    Command.Outcome outcome =
        train(PLAN.replaceFirst("kind: text, path: text.txt", "kind: tokens, path: text.tokens"));
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(64);
    assertThat(outcome.error()).contains("text.tokens", "gpt2", "bytes");
    assertOneMessage(outcome);
  }

  @Test
  void aCheckpointFolderThatCannotBeWrittenLosesNothing() throws Exception {
    Files.writeString(folder.resolve("file"), "not a folder");
    Command.Outcome outcome = train(PLAN.replace("dir: checkpoints", "dir: file/checkpoints"));
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(74);
    assertThat(outcome.error()).contains("file/checkpoints");
    assertOneMessage(outcome);
    assertThat(folder.resolve("file")).hasContent("not a folder");
  }

  @Test
  void aFullDiskEndsTheJobAndLosesNothing() throws Exception {
    String plan = PLAN.replace("hidden: 16", "hidden: 64").replace("steps: 2", "steps: 1");
    assertThat(train(plan).status()).isEqualTo(0);
    String[] resume = {"train", "plan.yaml", "--quiet", "--resume", "--set", "steps=3"};

    // No file may grow beyond 64 KiB: writing fails half way through the weights, as on a full
    // disk.
    Command.Outcome outcome = Command.in(folder).withFilesUpTo(64).run(resume);

    assertThat(outcome.status()).as(outcome.error()).isEqualTo(74);
    assertThat(outcome.error()).contains("step-000002", "--resume");
    assertOneMessage(outcome);
    try (Stream<Path> left = Files.list(folder.resolve("checkpoints"))) {
      assertThat(left.map(path -> path.getFileName().toString())).containsExactly("step-000001");
    }
    Command.Outcome again = Command.in(folder).run(resume);
    assertThat(again.status()).as(again.error()).isEqualTo(0);
    assertThat(folder.resolve("checkpoints/step-000003")).isDirectory();
  }

  @Test
  void twoJobsDoNotWriteToOneFolder() throws Exception {
    String plan = PLAN.replace("steps: 2", "steps: 1");
    try (LocalCheckpointStore other = new LocalCheckpointStore(folder.resolve("checkpoints"))) {
      other.claim("the job of a test", Duration.ZERO);
      Files.writeString(folder.resolve("report.json"), "of that job");
      Command.Outcome outcome =
          train(plan + "communication: {timeout_s: 4}\nlog: {report: report.json}\n");
      assertThat(folder.resolve("report.json")).hasContent("of that job");
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(75);
      assertThat(outcome.error())
          .contains(folder.resolve("checkpoints").toString(), "the job of a test");
      assertOneMessage(outcome);
    }
    assertThat(train(plan).status()).isEqualTo(0);
  }

  /** What a command then meets: the plan, and its checkpoints. */
  private void trainHere() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), PLAN);
    InProcessJob.run(PLAN, 1, folder, Optional.empty());
  }

  /** From what was saved here, with another value of a key. */
  private Command.Outcome goOnWith(String override) throws Exception {
    return Command.in(folder)
        .run("train", "plan.yaml", "--resume", "--quiet", "--set", override, "--set", "steps=4");
  }

  private Command.Outcome train(String plan) throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan);
    return Command.in(folder).run("train", "plan.yaml", "--quiet");
  }

  private static void assertOneMessage(Command.Outcome outcome) {
    assertThat(outcome.error()).doesNotContain("\tat ").doesNotContain("Exception");
    assertThat(outcome.error().lines().filter(line -> line.startsWith("phalanx: "))).hasSize(1);
  }

  private static void copyModel(String resource, Path target)
      throws IOException, URISyntaxException {
    Files.createDirectories(target);
    Path source = Paths.get(BadInputTest.class.getResource("/" + resource).toURI());
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.write(target.resolve(file), Files.readAllBytes(source.resolve(file)));
    }
  }
}
