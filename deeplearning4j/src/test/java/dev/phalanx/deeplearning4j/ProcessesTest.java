package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.TransportKind;
import java.nio.file.Path;
import java.util.List;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Ranks that are processes. */
final class ProcessesTest {
  private static final int EPOCHS = 3;

  @TempDir private Path folder = Path.of("");

  private static MultiLayerNetwork trainedByThreads() throws Exception {
    MultiLayerNetwork network = RankProcess.network();
    try (var training = ParallelTraining.threads(network, 2)) {
      training.fit(new ExistingDataSetIterator(RankProcess.batches()), EPOCHS);
    }
    return network;
  }

  private MultiLayerNetwork ofRank(int rank) throws Exception {
    return ModelSerializer.restoreMultiLayerNetwork(folder.resolve("network-" + rank).toFile());
  }

  @ParameterizedTest
  @EnumSource(names = {"SHM", "TCP"})
  void processesTrainWhatThreadsTrainBitForBit(TransportKind transport) throws Exception {
    List<RankProcess.Ended> ended = RankProcess.runTwo(folder, transport, EPOCHS, -1);

    for (RankProcess.Ended rank : ended) {
      assertThat(rank.status()).as(rank.output()).isZero();
      assertThat(rank.output()).contains("shared memory: " + (transport == TransportKind.SHM));
    }
    MultiLayerNetwork threads = trainedByThreads();
    ParityTest.assertClose(ofRank(0), threads, 0);
    ParityTest.assertClose(ofRank(1), threads, 0);
  }

  @Test
  void aKilledRankIsNamedAndTheJobGoesOnExactlyFromItsCheckpoint() throws Exception {
    List<RankProcess.Ended> broken = RankProcess.runTwo(folder, TransportKind.AUTO, EPOCHS, 1);

    assertThat(broken.get(1).status()).isEqualTo(137);
    assertThat(broken.get(0).status()).isNotZero();
    assertThat(broken.get(0).output()).contains("CollectiveException").contains("rank 1");

    List<RankProcess.Ended> resumed = RankProcess.runTwo(folder, TransportKind.AUTO, EPOCHS, -1);

    assertThat(resumed.get(0).status()).as(resumed.get(0).output()).isZero();
    assertThat(resumed.get(0).output()).contains("begins at iteration 4");
    ParityTest.assertClose(ofRank(0), trainedByThreads(), 0);
  }
}
