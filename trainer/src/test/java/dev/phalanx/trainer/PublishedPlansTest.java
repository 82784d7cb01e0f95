package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.config.ClusterParser;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.JobConfigValidator;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.model.StageLayers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The plans in {@code configs} are valid, and those of papers are of the models that they name. */
@Timeout(120)
final class PublishedPlansTest {
  private static final Path CONFIGS = Path.of("../configs");

  private static Stream<Path> filesIn(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(file -> file.toString().endsWith(".yaml")).sorted().toList().stream();
    }
  }

  static Stream<Path> plans() throws IOException {
    return Stream.concat(filesIn(CONFIGS), filesIn(CONFIGS.resolve("published")));
  }

  static Stream<Path> clusters() throws IOException {
    return filesIn(CONFIGS.resolve("clusters"));
  }

  @ParameterizedTest
  @MethodSource("plans")
  void everyPlanIsValid(Path file) {
    ParsedPlan plan = JobConfigParser.read(file, List.of());
    int ranks = plan.config().parallel().worldSize().orElse(2);
    assertThat(JobConfigValidator.problemsOf(plan, ranks)).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("clusters")
  void everyClusterIsDescribedInFull(Path file) {
    assertThat(ClusterParser.read(file).fp32OperationsPerSecond()).isPresent();
  }

  /**
   * Narayanan et al., 2021, "Efficient Large-Scale Language Model Training on GPU Clusters", table
   * 1, and Jiang et al., 2024, "Mixtral of Experts": billions of parameters as they print them, and
   * devices; Grattafiori et al., 2024, "The Llama 3 Herd of Models", round 405.9 down.
   */
  @Sample(3)
  @ParameterizedTest
  @CsvSource({
    "megatron-1.7b,     1.7,    32",
    "megatron-3.6b,     3.6,    64",
    "megatron-7.5b,     7.5,   128",
    "megatron-18b,     18.4,   256",
    "megatron-39b,     39.1,   512",
    "megatron-76b,     76.1,  1024",
    "megatron-146b,   145.6,  1536",
    "megatron-310b,   310.1,  1920",
    "megatron-530b,   529.6,  2520",
    "megatron-1t,    1008.0,  3072",
    "llama3-405b,     405.9, 16384",
    "mixtral-8x7b,       47,    64"
  })
  void aPublishedPlanIsOfItsModel(String name, String billions, int devices) throws Exception {
    JobPlan plan = plan(name);
    assertThat(plan.mesh().worldSize()).isEqualTo(devices);
    int digits = billions.contains(".") ? 1 : 0;
    double parameters = plan.ranks().get(0).rehearsal().parameters() / 1e9;
    assertThat(String.format(Locale.ROOT, "%." + digits + "f", parameters)).isEqualTo(billions);
  }

  @Test
  void eachPublishedPlanHasARowAbove() throws Exception {
    assertThat(filesIn(CONFIGS.resolve("published"))).hasSize(12);
  }

  /** 3.3.2: a layer less on the first and the last of 16 stages, for the embedding and the head. */
  @Test
  void llamasLayersAreCutAsItsAuthorsCutThem() throws Exception {
    assertThat(plan("llama3-405b").pipeline().stages().stream().map(StageLayers::count))
        .containsExactly(7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7);
  }

  private static JobPlan plan(String name) throws Exception {
    ParsedPlan plan =
        JobConfigParser.read(CONFIGS.resolve("published/" + name + ".yaml"), List.of());
    return JobPlan.of(plan, Path.of(""), plan.config().parallel().worldSize().orElseThrow());
  }
}
