package dev.phalanx.collectives.algorithm;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.HostTensors;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class LinearGatherTest {
  private static final int PIECE = 16; // elements
  private static final int PIECE_BYTES = PIECE * Float.BYTES;
  private static final Duration LONG = Duration.ofSeconds(30);
  private static final Call CALL = new Call(0, Operation.GATHER, DType.FLOAT32, null, 0, 2 * PIECE);

  private final InProcessNetwork network = new InProcessNetwork(3);

  private Transport transport(int rank) {
    LinkCost cost = new LinkCost(1000, 1);
    Topology topology = new Topology("test", List.of(0, 0, 0), cost, cost, PIECE_BYTES);
    return new Transport(rank, topology, network.links(rank));
  }

  private static Tensor part(int rank) {
    return HostTensors.of(DType.FLOAT32, 2 * PIECE, i -> 100 * rank + i);
  }

  private static void send(Transport from, Tensor part, int piece) {
    ByteBuffer content = part.byteBuffer((long) piece * PIECE_BYTES, PIECE_BYTES);
    from.send(0, CALL, piece, content);
  }

  /**
   * A rank whose part is not looked at before those of all others are there may have to wait for
   * longer than it may.
   */
  @Test
  void theRootTakesPiecesOfAllRanksInTurn() throws Exception {
    Transport first = transport(1);
    Transport second = transport(2);
    Tensor output = HostTensors.of(DType.FLOAT32, 6 * PIECE, i -> -1);
    ExecutorService threads = Executors.newSingleThreadExecutor();
    try {
      Exchange root = new Exchange(transport(0), LONG, rank -> rank);
      Future<?> gathered =
          threads.submit(
              () -> {
                root.begin(CALL);
                LinearGather.run(root, part(0), output, Parts.equal(3, 6L * PIECE), 0);
                return null;
              });
      Tensor ofFirst = part(1);
      Tensor ofSecond = part(2);
      send(first, ofFirst, 0); // and the rest of it is slow
      send(second, ofSecond, 0);
      assertThat(second.flush(Deadline.after(LONG))).as("the rank that waits").isNegative();

      send(first, ofFirst, 1);
      send(second, ofSecond, 1);
      gathered.get(30, SECONDS);
      for (int i = 0; i < 6 * PIECE; i++) {
        assertThat(output.byteBuffer((long) i * Float.BYTES, Float.BYTES).getFloat())
            .isEqualTo(100f * (i / (2 * PIECE)) + i % (2 * PIECE));
      }
    } finally {
      threads.shutdownNow();
    }
  }
}
