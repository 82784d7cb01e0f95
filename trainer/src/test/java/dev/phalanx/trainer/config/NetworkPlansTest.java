package dev.phalanx.trainer.config;

import static dev.phalanx.trainer.config.Plans.MINIMAL;
import static dev.phalanx.trainer.config.Plans.parse;
import static dev.phalanx.trainer.config.Plans.problems;
import static dev.phalanx.trainer.config.Plans.problemsInWorld;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.trainer.config.JobConfig.Batch;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.Evaluation;
import dev.phalanx.trainer.config.JobConfig.Family;
import dev.phalanx.trainer.config.JobConfig.Network;
import dev.phalanx.trainer.config.JobConfig.Optimizer;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Plans whose models are networks of other libraries. */
final class NetworkPlansTest {
  private static final String NETWORK =
      """
      model: {family: deeplearning4j, path: lenet.zip}
      data: {kind: csv, path: iris.csv, label: species, classes: 3}
      batch: {global: 7}
      steps: 50
      """;

  @Test
  void mostOfItHasDefaults() {
    JobConfig job = parse(NETWORK);

    assertThat(job.model()).isEqualTo(new Network(Family.DEEPLEARNING4J, "lenet.zip"));
    assertThat(job.data())
        .isEqualTo(
            new Data.Table(
                new Data.Csv(Data.Header.AUTO, ","),
                "iris.csv",
                Optional.empty(),
                List.of("species"),
                3,
                List.of(),
                Data.Normalization.NONE,
                1234));
    assertThat(job.batch()).isEqualTo(new Batch(7, 0));
    assertThat(job.optimizer().algorithm()).isEqualTo(new Optimizer.OfNetwork());
    assertThat(job.evaluation()).isEqualTo(new Evaluation(0, 0, 0.05));
    assertThat(problemsInWorld(3, NETWORK)).as("batches need not divide").isEmpty();
    assertThat(
            problemsInWorld(
                2,
                NETWORK,
                "optimizer={kind: lamb, lr: 1e-3, clip_grad_norm: 1}",
                "sharding.zero=1"))
        .isEmpty();
  }

  @Test
  void columnsAreNamesOrNumbers() {
    Data.Table table =
        (Data.Table)
            parse(NETWORK, "data.label=[4, \"a b\"]", "data.classes=0", "data.features=3").data();

    assertThat(table.labels()).containsExactly("4", "a b");
    assertThat(table.features()).containsExactly("3");
  }

  @Test
  void filesOfImagesAreAFolderOrPairs() {
    assertThat(parse(NETWORK, "data={kind: idx, path: mnist}").data())
        .isEqualTo(
            new Data.Idx(
                Optional.of("mnist"), Optional.empty(), Optional.empty(), Optional.empty(), 1234));
    assertThat(
            parse(
                    NETWORK,
                    "data={kind: idx, images: a, labels: b, test_images: c, test_labels: d,"
                        + " classes: 10, seed: 1}")
                .data())
        .isEqualTo(
            new Data.Idx(
                Optional.empty(),
                Optional.of(new Data.Idx.Files("a", "b")),
                Optional.of(new Data.Idx.Files("c", "d")),
                Optional.of(10),
                1));
  }

  @Test
  void aTransformersKeysAreNotANetworks() {
    assertThat(problems(NETWORK.replace("path: lenet.zip", "path: lenet.zip, layers: 2")))
        .containsExactly(
            "configs/a.yaml:1:50: model.layers: not a key of family deeplearning4j, but of family"
                + " gpt2 or llama; leave it out or write 'family: gpt2 or llama'");
    assertThat(problems(MINIMAL + "model.path: x")).isNotEmpty();
  }

  /** An override of the family is enough: the file's sizes then do not count. */
  @Test
  void anotherFamilyOnTheCommandLineAsksForItsOwnKeys() {
    assertThat(
            problems(
                MINIMAL,
                "model.family=deeplearning4j",
                "model.path=a.zip",
                "optimizer={kind: network}"))
        .isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "data={kind: text, path: a}      | family deeplearning4j learns from samples with labels",
        "precision=bf16                  | computes in the type that it was made with",
        "batch.micro=7                   | computes its share of a batch of family deeplearning4j",
        "parallel.tensor=2               | its layers cannot be divided; write 'tensor: 1'; more",
        "parallel.pipeline=2             | its layers cannot be cut into stages",
        "parallel.context=2              | its samples cannot be divided",
        "parallel.expert=2               | it has no experts to divide",
        "sharding.zero=1                 | zero 1 divides an optimizer's state, and the network's",
        "sharding.zero=2                 | zero 2 divides gradients, whose memory a network of",
        "sharding.zero=3                 | zero 3 divides gradients, whose memory a network of",
        "sharding.shard_size=1           | all ranks of a network of family deeplearning4j divide",
        "sharding.offload=cpu            | is in the host's memory already",
        "optimizer={kind: muon, lr: 1}   | muon is for the matrices of transformers",
        "communication.compression={kind: onebit, warmup_steps: 9} | compression sums momenta",
        "communication.compression={kind: topk, momentum: 0.9}     | compression sums momenta",
      })
  void whatANetworkCannotIsRefusedWithTheWayOut(String override, String expected) {
    assertThat(problemsInWorld(2, NETWORK, override))
        .anySatisfy(
            problem ->
                assertThat(problem)
                    .startsWith("--set " + override + ": ")
                    .contains(expected)
                    .contains("; "));
  }

  @Test
  void aTransformerTakesNeitherSamplesNorANetworksOptimizer() {
    assertThat(
            problemsInWorld(
                1,
                MINIMAL,
                "data={kind: idx, path: mnist}",
                "optimizer={kind: network}",
                "model.vocab=9"))
        .hasSize(2)
        .anyMatch(problem -> problem.contains("family gpt2 learns from tokens"))
        .anyMatch(problem -> problem.contains("family gpt2 has no optimizer of its own"));
  }
}
