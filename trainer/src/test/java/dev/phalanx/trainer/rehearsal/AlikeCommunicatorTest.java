package dev.phalanx.trainer.rehearsal;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Rank 1 of three, of which the others are pretended. */
final class AlikeCommunicatorTest {
  private final Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
  private final Arena arena = new Arena(engine, Device.CPU);
  private final Communicator ranks = RehearsalGroups.alike(1, 3).world();

  @AfterEach
  void freeMemory() {
    arena.close();
    engine.close();
  }

  private Tensor numbers(long... values) {
    return HostArrays.upload(arena, values);
  }

  @Test
  void allHaveWhatThisRankHas() throws Exception {
    Tensor all = numbers(0, 0, 0, 0, 0, 0);
    ranks.allGather(numbers(7, 8), all).await();
    assertThat(HostArrays.downloadLongs(all)).containsExactly(7, 8, 7, 8, 7, 8);

    Tensor uneven = numbers(0, 0, 0, 0);
    ranks.allGather(numbers(7, 8), uneven, new long[] {1, 2, 1}).await();
    assertThat(HostArrays.downloadLongs(uneven)).containsExactly(7, 7, 8, 7);
  }

  /** A rank's own part stays among the parts that were there. */
  @Test
  void whatIsGatheredWhereItLiesStaysAsItIs() throws Exception {
    Tensor all = numbers(1, 2, 3);
    ranks.allGather(all.slice(0, 1, 1), all).await();
    ranks.allGather(all.slice(0, 1, 1), all, new long[] {1, 1, 1}).await();
    assertThat(HostArrays.downloadLongs(all)).containsExactly(1, 2, 3);
  }

  /** What this rank sends to itself all others send to it. */
  @Test
  void othersSendWhatThisRankWould() throws Exception {
    Tensor received = numbers(0, 0, 0);
    ranks.allToAll(numbers(4, 5, 6), received).await();
    assertThat(HostArrays.downloadLongs(received)).containsExactly(5, 5, 5);
  }

  @Test
  void aSumIsThisRanksOwnPartOfIt() throws Exception {
    Tensor part = numbers(0);
    ranks.reduceScatter(numbers(4, 5, 6), part, ReduceOperation.SUM).await();
    assertThat(HostArrays.downloadLongs(part)).containsExactly(5);
  }
}
