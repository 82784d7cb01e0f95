package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.data.DataException;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.data.TokenFileWriter;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is wrong with the data is told at the place in the plan that can mend it. */
final class PreflightTest {
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 16, heads: 2, sequence: 8,
              vocab: 100}
      data: {kind: tokens,
             path: book.tokens}
      batch: {global: 4, micro: 2}
      optimizer: {kind: sgd, lr: 1.0e-3}
      steps: 2
      """;

  @TempDir private Path folder = Path.of("");

  @BeforeEach
  void writeTokens() throws IOException {
    int[] tokens = new int[60];
    tokens[33] = 120;
    try (TokenFileWriter writer =
        new TokenFileWriter(folder.resolve("book.tokens"), "bytes", 256)) {
      writer.accept(tokens, tokens.length);
      writer.publish();
    }
  }

  private DataException failure(String yaml, String... overrides) {
    ParsedPlan plan = JobConfigParser.parse("plan.yaml", yaml, List.of(overrides));
    return catchThrowableOfType(
        DataException.class, () -> Preflight.check(plan, folder, 1, DataPreparation.Progress.NONE));
  }

  @Test
  void dataThatFitsPasses() {
    ParsedPlan plan = JobConfigParser.parse("plan.yaml", PLAN.replace("100", "121"));
    assertThatCode(() -> Preflight.check(plan, folder, 1, DataPreparation.Progress.NONE))
        .doesNotThrowAnyException();
  }

  @Test
  void aMissingFileIsToldWhereThePlanNamesIt() {
    DataException failure = failure(PLAN.replace("book.tokens", "nowhere.tokens"));
    assertThat(failure.kind()).isEqualTo(DataException.Kind.INPUT_OUTPUT);
    assertThat(failure).hasMessageStartingWith("plan.yaml:4:14: data.path: ");
    assertThat(failure).hasMessageContaining("nowhere.tokens does not exist");
  }

  @Test
  void aVocabularyThatIsTooSmallIsToldWhereThePlanGivesIt() {
    DataException failure = failure(PLAN);
    assertThat(failure.kind()).isEqualTo(DataException.Kind.PLAN);
    assertThat(failure).hasMessageStartingWith("plan.yaml:2:16: model.vocab: ");
    assertThat(failure).hasMessageContaining("token 120 at position 33");
  }

  @Test
  void anOverrideIsItsOwnPlace() {
    assertThat(failure(PLAN, "data.path=nowhere.tokens"))
        .hasMessageStartingWith("--set data.path=nowhere.tokens: data.path: ");
  }

  @Test
  void dataThatIsTooShortIsToldAtTheLengthOfASequence() {
    assertThat(failure(PLAN.replace("100", "121").replace("sequence: 8", "sequence: 80")))
        .hasMessageStartingWith("plan.yaml:1:66: model.sequence: ");
  }
}
