package dev.phalanx.launcher.local;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.process.WorkerSpec;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

final class WorkerCommandsTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

  private static List<Map<String, String>> environments(Placement placement) {
    return new WorkerCommands(
            new WorkerCommands.Settings(placement, false, "torch", WorkerCommands.ARENAS, 1),
            Assignment.Task.TRAIN)
        .specs().stream().map(WorkerSpec::environment).toList();
  }

  @Test
  void eachRankHasItsPlaceInTorchrunsNames() {
    List<Map<String, String>> ranks = environments(Placement.here(3, false, 0, Encryption.NONE));
    for (int rank = 0; rank < 3; rank++) {
      assertThat(ranks.get(rank))
          .containsEntry("RANK", Integer.toString(rank))
          .containsEntry("LOCAL_RANK", Integer.toString(rank))
          .containsEntry("WORLD_SIZE", "3")
          .containsEntry("LOCAL_WORLD_SIZE", "3")
          .containsEntry("MASTER_ADDR", LOOPBACK.getHostAddress());
      assertThat(ranks.get(rank).get("MASTER_PORT"))
          .isEqualTo(ranks.get(0).get("MASTER_PORT"))
          .satisfies(port -> assertThat(Integer.parseInt(port)).isPositive());
    }
  }

  @Test
  void userCodeOfRankZeroCanListenOnTheMastersPort() throws Exception {
    Map<String, String> rank = environments(Placement.here(2, false, 0, Encryption.NONE)).get(0);
    int port = Integer.parseInt(rank.getOrDefault("MASTER_PORT", ""));
    try (ServerSocket socket = new ServerSocket(port, 1, LOOPBACK)) {
      assertThat(socket.isBound()).isTrue();
    }
  }

  /** Which rank it is, a thread must be told otherwise. */
  @Test
  void aProcessOfSeveralRanksIsNoneOfThem() {
    assertThat(environments(Placement.here(2, true, 0, Encryption.NONE)).get(0))
        .containsEntry("WORLD_SIZE", "2")
        .containsKey("MASTER_PORT")
        .doesNotContainKeys("RANK", "LOCAL_RANK");
  }

  @Test
  void whatSomethingElseHasStartedKeepsItsMaster() {
    InetSocketAddress master = new InetSocketAddress("192.0.2.7", 29500);
    Placement placement =
        new Placement(
            8,
            List.of(List.of(5)),
            1,
            2,
            JobToken.random(),
            Encryption.NONE,
            master,
            false,
            master,
            LOOPBACK);
    assertThat(environments(placement).get(0))
        .containsEntry("RANK", "5")
        .containsEntry("LOCAL_RANK", "1")
        .containsEntry("WORLD_SIZE", "8")
        .containsEntry("MASTER_ADDR", "192.0.2.7")
        .containsEntry("MASTER_PORT", "29500");
  }
}
