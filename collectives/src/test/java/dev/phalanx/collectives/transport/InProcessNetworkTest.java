package dev.phalanx.collectives.transport;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class InProcessNetworkTest {
  private static final Call CALL = new Call(0, Operation.BARRIER, null, null, -1, 0);
  private static final Deadline NOW = Deadline.after(Duration.ZERO);
  private static final int PIECES = 20;
  private static final int ROUNDS = 2000;

  /**
   * A rank that gives up takes back what nobody has begun to read. Its peer must not take the rest
   * for what it waits for.
   */
  @Test
  void whatIsReadWhileTheSenderGivesUpHasNoGaps() throws Exception {
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      for (int round = 0; round < ROUNDS; round++) {
        InProcessNetwork network = new InProcessNetwork(2);
        Transport sender = network.transport(0);
        Transport receiver = network.transport(1);
        for (int piece = 0; piece < PIECES; piece++) {
          sender.send(1, CALL, piece, ByteBuffer.allocate(piece % 3)); // also without content
        }
        CountDownLatch start = new CountDownLatch(1);
        Future<?> end =
            thread.submit(
                () -> {
                  start.countDown();
                  sender.abort("the disk is full");
                });
        start.await();
        List<Integer> read = read(receiver);
        end.get();
        for (int piece = 0; piece < read.size(); piece++) {
          assertThat(read.get(piece)).isEqualTo(piece);
        }
      }
    } finally {
      thread.shutdownNow();
    }
  }

  /** It may free its memory then. */
  @Test
  void whoGivesUpWaitsForWhoeverReadsFromItsMemory() throws Exception {
    InProcessNetwork network = new InProcessNetwork(2);
    Transport sender = network.transport(0);
    Transport receiver = network.transport(1);
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      sender.send(1, CALL, 0, ByteBuffer.allocate(1));
      Message reading = receiver.receive(0, null, Deadline.after(Duration.ofSeconds(30)));
      assertThat(reading).isNotNull();
      Future<?> end = thread.submit(() -> sender.abort("the disk is full"));
      assertThatThrownBy(() -> end.get(300, TimeUnit.MILLISECONDS))
          .isInstanceOf(TimeoutException.class);
      assertThat(receiver.failure(0)).contains("the disk is full");
      reading.close();
      end.get(30, TimeUnit.SECONDS);
    } finally {
      thread.shutdownNow();
    }
  }

  private static List<Integer> read(Transport receiver) throws InterruptedException {
    List<Integer> read = new ArrayList<>();
    try {
      while (true) {
        try (Message message = receiver.receive(0, null, NOW)) {
          if (message == null) {
            return read;
          }
          read.add(message.piece());
        }
      }
    } catch (PeerLostException e) {
      return read;
    }
  }
}
