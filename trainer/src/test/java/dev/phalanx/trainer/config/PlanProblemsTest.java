package dev.phalanx.trainer.config;

import static dev.phalanx.trainer.config.Plans.MINIMAL;
import static dev.phalanx.trainer.config.Plans.problems;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlanProblemsTest {
  @Test
  void aMisspeltKeyIsReportedWithTheNearestOne() {
    assertThat(problems(MINIMAL.replace("layers: 2", "layers: 2\n  hiden: 64")))
        .containsExactly("configs/a.yaml:4:3: model.hiden: unknown key; did you mean 'hidden'?");
  }

  @Test
  void aMisspeltKeyIsFoundAtEveryDepth() {
    assertThat(problems("stepz: 1\n" + MINIMAL))
        .containsExactly("configs/a.yaml:1:1: stepz: unknown key; did you mean 'steps'?");
    assertThat(problems(MINIMAL + "communication: {compression: {knd: none}}"))
        .containsExactly(
            "configs/a.yaml:15:31: communication.compression.knd: unknown key;"
                + " did you mean 'kind'?");
  }

  @Test
  void aKeyThatIsNearToNothingIsReportedWithTheKnownOnes() {
    assertThat(problems(MINIMAL + "sharding: {colour: red}"))
        .containsExactly(
            "configs/a.yaml:15:12: sharding.colour: unknown key;"
                + " the keys here are zero, shard_size, offload, reshard_after_forward");
  }

  @Test
  void letterCaseAndSeparatorsDoNotHideWhatWasMeant() {
    assertThat(problems(MINIMAL + "log: {tensor-board: x}"))
        .containsExactly(
            "configs/a.yaml:15:7: log.tensor-board: unknown key; did you mean 'tensorboard'?");
  }

  @Test
  void aWrongTypeSaysWhatWasFoundAndWhatIsExpected() {
    assertThat(problems(MINIMAL.replace("layers: 2", "layers: four")))
        .containsExactly(
            "configs/a.yaml:3:11: model.layers: expected a whole number of at least 1,"
                + " found the text 'four'; write for example 'layers: 4'");
    assertThat(problems(MINIMAL.replace("steps: 50", "steps: [50]")))
        .containsExactly(
            "configs/a.yaml:14:8: steps: expected a whole number of at least 1,"
                + " found the list [50]; write for example 'steps: 1000'");
    assertThat(problems(MINIMAL.replace("path: book.txt", "path: {a: 1}")))
        .containsExactly(
            "configs/a.yaml:8:9: data.path: expected text, found a mapping;"
                + " write for example 'path: data/moby-dick.txt'");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "steps=1_000        | found the text '1_000'; write 'steps: 1000'",
        "steps=1e3          | found the number 1e3; write 'steps: 1000'",
        "steps=8.0          | found the number 8.0; write 'steps: 8'",
        "steps=\"4\"        | found the text '4'; write 'steps: 4'",
        "steps=1.5          | found the number 1.5; write for example 'steps: 1000'",
        "steps=0            | found the whole number 0; write for example 'steps: 1000'",
        "steps=-3           | found the whole number -3; write for example 'steps: 1000'",
        "steps=99999999999  | found the whole number 99999999999; write at most 2147483647",
        "steps=99999999999999999999 | found the whole number 99999999999999999999; write at most",
        "steps=             | found no value; write for example 'steps: 1000'",
        "optimizer.lr=-1    | expected a finite number above 0, found the whole number -1",
        "optimizer.lr=.nan  | expected a finite number above 0, found the number .nan",
        "optimizer.lr=.inf  | expected a finite number above 0, found the number .inf",
        "optimizer.lr=3_0.5 | found the text '3_0.5'; write 'lr: 30.5'",
        "optimizer.lr=fast  | found the text 'fast'; write for example 'lr: 3.0e-4'",
        "model.dropout=1    | expected a finite number of at least 0 and below 1, found the whole",
        "communication.overlap=yes | expected true or false, found the text 'yes'; write 'overlap:"
            + " true'",
        "communication.overlap=0   | expected true or false, found the whole number 0; write"
            + " 'overlap: false'",
        "name=7             | expected text, found the whole number 7; write 'name: \"7\"'",
        "log.every=null     | found no value; write for example 'every: 10' or leave the key out",
        "engine=pytorch     | expected one of auto, torch, nd4j, found the text 'pytorch'",
        "engine=tourch      | did you mean 'torch'?",
        "model.family=deeplearning4 | did you mean 'deeplearning4j'?",
        "data={kind: csv, path: a} | data.label: missing required key; write for example 'label:",
        "data={kind: csv, path: a, label: [1, 1]} | found the list [1, 1]; write for example",
        "data={kind: csv, path: a, label: 1, delimiter: ab} | expected one character",
        "data={kind: parquet, path: a, label: 1, header: yes} | but of kind csv",
        "data={kind: csv, path: a, label: 1, classes: 1} | expected two classes or more, found 1",
        "data={kind: csv, path: a, label: [1, 2], classes: 3} | found the labels [1, 2]; write one",
        "data={kind: csv, path: a, label: 1, features: [0, 1]} | found [0, 1] beside the label [1]",
        "data={kind: idx} | data.path: missing required key",
        "data={kind: idx, images: a} | data.labels: missing required key",
        "data={kind: idx, path: a, classes: 1} | expected a whole number of at least 2, found",
        "data={kind: idx, images: a, labels: b, path: c} | data.path: a folder of files with",
        "data={kind: idx, path: a, test_labels: b} | labels are those of test_images",
        "data={kind: idx, path: a, labels: b} | labels are those of images, which is left out",
        "optimizer={kind: network, lr: 1} | optimizer.lr: not a key of kind network, but of kind",
        "parallel.schedule=1f2b | did you mean '1f1b'?",
        "parallel.schedule=foo  | or the path of a table, found the text 'foo'",
        "parallel.data=0    | expected a number of ranks or -1",
        "parallel.order=[tensor, data] | expected a list of tensor, context, data and pipeline in",
        "parallel.order=[data, data, tensor, context] | found the list [data, data, tensor,"
            + " context]",
        "optimizer.betas=[0.9, 1.0] | expected a list of two numbers of at least 0 and below 1",
        "optimizer.betas=0.9        | found the number 0.9; write for example 'betas: [0.9, 0.95]'",
        "checkpoint=daily   | expected a mapping of keys to values, found the text 'daily'",
        "checkpoint={every: 5}      | checkpoint.dir: missing required key",
        "sharding.zero=4    | expected a whole number from 0 to 3",
        "parallel={data: 60000, tensor: 60000} | the sizes multiply to 3600000000 ranks",
        "seed=!!java.net.URL http://x | the tag tag:yaml.org,2002:java.net.URL is not allowed",
        "seed=!mine 3       | the tag !mine is not allowed; leave it out",
      })
  void aWrongValueIsReportedWithItsOverride(String override, String expected) {
    assertThat(problems(MINIMAL, override))
        .singleElement()
        .asString()
        .startsWith("--set " + override + ": ")
        .contains(expected);
  }

  @Test
  void overridesAreCheckedLikeTheFile() {
    assertThat(problems(MINIMAL, "parallel.tensr=2"))
        .containsExactly(
            "--set parallel.tensr=2: parallel.tensr: unknown key; did you mean 'tensor'?");
    assertThat(problems(MINIMAL, "model.layers.count=2"))
        .containsExactly(
            "--set model.layers.count=2: model.layers: expected a whole number of at least 1,"
                + " found a mapping; write for example 'layers: 4'");
    assertThat(problems(MINIMAL, "steps")).singleElement().asString().contains("KEY=VALUE");
    assertThat(problems(MINIMAL, "a..b=1")).singleElement().asString().contains("KEY=VALUE");
    assertThat(problems(MINIMAL, "optimizer.betas=[0.9"))
        .singleElement()
        .asString()
        .startsWith("--set optimizer.betas=[0.9: not valid YAML");
  }

  @Test
  void aDuplicateKeyIsReportedWithBothPlaces() {
    assertThat(problems(MINIMAL.replace("heads: 4", "heads: 4\n  layers: 3")))
        .containsExactly(
            "configs/a.yaml:6:3: model.layers: duplicate key,"
                + " first written at configs/a.yaml:3:3; keep one of the two");
    assertThat(problems(MINIMAL + "steps: 50\n"))
        .containsExactly(
            "configs/a.yaml:15:1: steps: duplicate key,"
                + " first written at configs/a.yaml:14:1; keep one of the two");
  }

  @Test
  void aMissingKeyIsReportedAtItsSection() {
    assertThat(problems(MINIMAL.replace("  hidden: 64\n", "")))
        .containsExactly(
            "configs/a.yaml:1:1: model.hidden: missing required key;"
                + " write for example 'hidden: 128'");
    assertThat(problems(MINIMAL.replace("steps: 50\n", "")))
        .containsExactly(
            "configs/a.yaml:1:1: steps: missing required key; write for example 'steps: 1000'");
  }

  @Test
  void aRequiredKeyThatIsMisspeltIsOneProblem() {
    assertThat(problems(MINIMAL.replace("hidden", "hiden").replace("steps", "stepz")))
        .containsExactly(
            "configs/a.yaml:4:3: model.hiden: unknown key; did you mean 'hidden'?",
            "configs/a.yaml:14:1: stepz: unknown key; did you mean 'steps'?");
  }

  @Test
  void aMissingSectionIsOneProblem() {
    assertThat(problems(MINIMAL.replaceFirst("(?s)model:.*data:", "data:")))
        .containsExactly(
            "configs/a.yaml:1:1: model: missing required key; write for example"
                + " 'model: {family: gpt2, layers: 4, hidden: 128, heads: 4, sequence: 128}'");
  }

  @Test
  void aKeyOfAnotherKindIsReportedWithThatKind() {
    assertThat(problems(MINIMAL + "communication: {compression: {kind: int8, density: 0.1}}"))
        .containsExactly(
            "configs/a.yaml:15:43: communication.compression.density: not a key of kind int8,"
                + " but of kind topk; leave it out or write 'kind: topk'");
    assertThat(problems(MINIMAL.replace("lr: 3e-4", "lr: 3e-4\n  momentum: 0.9")))
        .containsExactly(
            "configs/a.yaml:14:3: optimizer.momentum: not a key of kind adamw, but of kind sgd"
                + " or muon; leave it out or write 'kind: sgd or muon'");
    assertThat(problems(MINIMAL + "loss_scaling: {initial: 1}"))
        .containsExactly(
            "configs/a.yaml:15:1: loss_scaling: not a key of precision fp32, but of precision fp16;"
                + " leave it out or write 'precision: fp16'");
    assertThat(problems(MINIMAL.replace("layers: 2", "layers: 2\n  rope_theta: 1")))
        .containsExactly(
            "configs/a.yaml:4:3: model.rope_theta: not a key of family gpt2, but of family llama;"
                + " leave it out or write 'family: llama'");
  }

  @Test
  void rotaryScalingIsLlamasAndNamesItsKeys() {
    String llama = MINIMAL.replace("family: gpt2", "family: llama");
    assertThat(problems(llama.replace("layers: 2", "layers: 2\n  rope_scaling: {kind: llama3}")))
        .containsExactly(
            "configs/a.yaml:4:3: model.rope_scaling.factor: missing required key; write for"
                + " example 'factor: 8'",
            "configs/a.yaml:4:3: model.rope_scaling.original_sequence: missing required key;"
                + " write for example 'original_sequence: 8192'");
    assertThat(problems(MINIMAL.replace("layers: 2", "layers: 2\n  rope_scaling: {kind: none}")))
        .containsExactly(
            "configs/a.yaml:4:3: model.rope_scaling: not a key of family gpt2, but of family"
                + " llama; leave it out or write 'family: llama'");
  }

  @Test
  void aRangeOfDensitiesHasTwoEndsInOrder() {
    String adaptive = MINIMAL + "communication: {compression: {kind: threshold, %s}}";
    assertThat(problems(adaptive.formatted("min_density: 0.01")))
        .containsExactly(
            "configs/a.yaml:15:61: communication.compression.min_density: a threshold adapts"
                + " between min_density and max_density, and max_density is left out; write"
                + " 'max_density: 0.01' too, or leave out both for a fixed threshold");
    assertThat(problems(adaptive.formatted("min_density: null, max_density: 0.01")))
        .containsExactly(
            "configs/a.yaml:15:80: communication.compression.max_density: a threshold adapts"
                + " between min_density and max_density, and min_density is left out; write"
                + " 'min_density: 1.0e-4' too, or leave out both for a fixed threshold");
    assertThat(problems(adaptive.formatted("min_density: 0.1, max_density: 0.01")))
        .containsExactly(
            "configs/a.yaml:15:79: communication.compression.max_density: expected at least"
                + " min_density, 0.1, found 0.01; write the smaller one as min_density; both may be"
                + " the same");
    assertThat(problems(adaptive.formatted("min_density: 0.1, max_density: 1")))
        .containsExactly(
            "configs/a.yaml:15:79: communication.compression.max_density: expected a finite number"
                + " above 0 and below 1, found the whole number 1; write for example"
                + " 'max_density: 0.01'");
    assertThat(problems(adaptive.formatted("min_density: 0, max_density: 0.1")))
        .singleElement()
        .asString()
        .contains("min_density: expected a finite number above 0 and below 1");
    assertThat(problems(MINIMAL + "communication: {compression: {kind: topk, min_density: 0.1}}"))
        .singleElement()
        .asString()
        .contains("not a key of kind topk, but of kind threshold");
  }

  @Test
  void aWrongKindBringsNoProblemsAboutItsKeys() {
    assertThat(problems(MINIMAL + "communication: {compression: {kind: int9, block: 2}}"))
        .containsExactly(
            "configs/a.yaml:15:37: communication.compression.kind: expected one of none, fp16,"
                + " bf16, int8, topk, threshold, onebit, powersgd, found the text 'int9';"
                + " did you mean 'int8'?");
  }

  @Test
  void allMistakesAreReportedAtOnceInTheOrderOfTheFile() {
    String yaml =
        """
        modle: 3
        model:
          family: gtp2
          layers: 0
          hidden: 64
          heads: 4
        data: {path: 7}
        batch: {global: many, micro: 4}
        optimizer: {lr: 1, shedule: {}}
        """;

    assertThat(problems(yaml, "log.evry=1"))
        .extracting(text -> text.replaceFirst("^(.*?: .*?): .*", "$1"))
        .containsExactly(
            "--set log.evry=1: log.evry",
            "configs/a.yaml:1:1: steps",
            "configs/a.yaml:1:1: modle",
            "configs/a.yaml:2:1: model.sequence",
            "configs/a.yaml:3:11: model.family",
            "configs/a.yaml:4:11: model.layers",
            "configs/a.yaml:7:14: data.path",
            "configs/a.yaml:8:17: batch.global",
            "configs/a.yaml:9:20: optimizer.shedule");
  }

  @Test
  void brokenYamlIsReportedWhereItBreaks() {
    assertThat(problems("model: {layers: 2\nsteps: 5\n"))
        .singleElement()
        .asString()
        .startsWith("configs/a.yaml:2:6: not valid YAML: ");
    assertThat(problems("steps: 5\n\tlog: 3\n"))
        .singleElement()
        .asString()
        .startsWith("configs/a.yaml:2:1: not valid YAML: ");
    assertThat(problems("steps: 5\n---\nsteps: 6\n"))
        .singleElement()
        .asString()
        .contains("not valid YAML");
    assertThat(problems("steps: *nowhere\n")).singleElement().asString().contains("nowhere");
    assertThat(problems("steps: \u0001\n")).singleElement().asString().contains("not valid YAML");
  }

  @Test
  void anEmptyFileIsReportedAsSuch() {
    for (String yaml : List.of("", "\n\n", "# nothing\n", "---\n", "{}\n", "null\n")) {
      assertThat(problems(yaml))
          .containsExactly(
              "configs/a.yaml: the plan file is empty;"
                  + " write keys and values, as in 'steps: 100'");
    }
    assertThat(problems("just words\n"))
        .containsExactly(
            "configs/a.yaml:1:1: expected a mapping, found the text 'just words';"
                + " write keys and values, as in 'steps: 100'");
    assertThat(problems("- 1\n- 2\n")).singleElement().asString().contains("found the list [1, 2]");
  }

  @Test
  void aTextThatWouldGrowIsRefusedOrHarmless() {
    assertThat(problems("[".repeat(100_000)))
        .containsExactly(
            "configs/a.yaml:1:21: more than 20 levels of nesting; a plan file needs 4");
    assertThat(problems("a: &a [*a]\n")).isNotEmpty();

    StringBuilder laughs = new StringBuilder("x0: &x0 [1, 1]\n");
    for (int i = 1; i < 60; i++) {
      laughs.append("x%d: &x%d [*x%d, *x%d]%n".formatted(i, i, i - 1, i - 1));
    }
    assertThat(problems(laughs.toString())).isNotEmpty();
  }

  @Test
  void aKeyMustBeAWord() {
    assertThat(problems("? [a, b]\n: 1\n" + MINIMAL))
        .containsExactly("configs/a.yaml:1:3: a key must be a word; write it as in 'steps: 100'");
  }

  @Test
  void aFileThatCannotBeReadIsOneProblem(@TempDir Path folder) throws Exception {
    Path missing = folder.resolve("missing.yaml");
    Path binary = Files.write(folder.resolve("binary.yaml"), new byte[] {(byte) 0xC3, 0x28});
    Path large = Files.write(folder.resolve("large.yaml"), new byte[(1 << 20) + 1]);

    assertThat(problemsOf(missing)).startsWith(missing + ": there is no such file in ");
    assertThat(problemsOf(folder)).isEqualTo(folder + ": this is a directory; name a file");
    assertThat(problemsOf(binary)).contains("the file is not UTF-8 text");
    assertThat(problemsOf(large)).contains("the file has 1048577 bytes");
  }

  @Test
  void aFileIsNamedAsItWasGiven(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("job.yaml");
    Files.writeString(file, MINIMAL + "stepz: 1\n", StandardCharsets.UTF_8);

    assertThat(problemsOf(file))
        .isEqualTo(file + ":15:1: stepz: unknown key; did you mean 'steps'?");
  }

  private static String problemsOf(Path file) {
    ConfigurationException exception =
        catchThrowableOfType(
            ConfigurationException.class, () -> JobConfigParser.read(file, List.of()));
    assertThat(exception.problems()).hasSize(1);
    assertThat(exception).hasMessage(exception.problems().get(0).toString());
    return String.valueOf(exception.getMessage());
  }
}
