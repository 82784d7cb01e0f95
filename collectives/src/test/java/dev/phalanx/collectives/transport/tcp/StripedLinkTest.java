package dev.phalanx.collectives.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Envelope;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.PeerLostException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Over links between threads, which the test fills in any order it likes. */
@Timeout(60)
final class StripedLinkTest {
  private static final int STREAMS = 3;
  private static final Call CALL = new Call(7, Operation.BARRIER, null, null, -1, 0);

  private final List<Link> theirs = new ArrayList<>();
  private final List<Link> ours = new ArrayList<>();
  private final StripedLink link;

  StripedLinkTest() {
    for (int stream = 0; stream < STREAMS; stream++) {
      InProcessNetwork network = new InProcessNetwork(2);
      theirs.add(network.links(0).get(1));
      ours.add(network.links(1).get(0));
    }
    link = new StripedLink(ours);
  }

  /** The peer's message of this number arrives, whatever those before it do. */
  private void arrive(int number) {
    theirs.get(number % STREAMS).send(CALL, number, ByteBuffer.allocate(4).putInt(0, number));
  }

  /** The next message's number; -1: it has not come. */
  private int next() {
    Envelope seen = link.peek();
    try (Message message = link.poll(null)) {
      if (message == null) {
        assertThat(seen).isNull();
        return -1;
      }
      assertThat(seen).isNotNull();
      assertThat(seen.piece()).isEqualTo(message.piece());
      assertThat(message.payload().getInt(0)).isEqualTo(message.piece());
      return message.piece();
    }
  }

  @Test
  void messagesTakeTheStreamsInTurn() {
    IntStream.range(0, 8).forEach(number -> link.send(CALL, number, ByteBuffer.allocate(4)));
    for (int stream = 0; stream < STREAMS; stream++) {
      List<Integer> numbers = new ArrayList<>();
      for (Message come = theirs.get(stream).poll(null);
          come != null;
          come = theirs.get(stream).poll(null)) {
        numbers.add(come.piece());
        come.close();
      }
      assertThat(numbers)
          .isEqualTo(stream == 2 ? List.of(2, 5) : List.of(stream, stream + 3, stream + 6));
    }
  }

  @Test
  void aMessageThatOvertakesWaitsForThoseBeforeIt() {
    arrive(2);
    arrive(1);
    arrive(4);
    assertThat(next()).isEqualTo(-1);
    arrive(0);
    assertThat(List.of(next(), next(), next(), next())).containsExactly(0, 1, 2, -1);
    arrive(3);
    assertThat(List.of(next(), next(), next())).containsExactly(3, 4, -1);
  }

  @Test
  void messagesThatArriveAnyhowAreReadInOrder() {
    Random random = new Random(5);
    int[] arrived = new int[STREAMS]; // messages on each stream
    int read = 0;
    while (read < 1000) {
      int stream = random.nextInt(STREAMS);
      arrive(stream + STREAMS * arrived[stream]++);
      for (int number = next(); number >= 0; number = next()) {
        assertThat(number).isEqualTo(read++);
      }
    }
  }

  @Test
  void itIsFlushedWhenAllStreamsAre() {
    IntStream.range(0, STREAMS).forEach(number -> link.send(CALL, number, ByteBuffer.allocate(4)));
    for (Link stream : theirs) {
      assertThat(link.isFlushed()).isFalse();
      Message message = stream.poll(null);
      assertThat(message).isNotNull();
      message.close();
    }
    assertThat(link.isFlushed()).isTrue();
  }

  @Test
  void aFarewellDoesNotOvertakeMessages() {
    IntStream.range(0, STREAMS).forEach(this::arrive);
    assertThat(next()).isEqualTo(0);
    assertThat(next()).isEqualTo(1);
    Deadline deadline = Deadline.after(Duration.ofSeconds(10));
    theirs.get(0).leave(deadline);
    theirs.get(1).leave(deadline);
    assertThat(link.endReason()).as("the third stream still has a message").isNull();
    assertThat(next()).isEqualTo(2);
    assertThat(link.endReason()).isEqualTo(Link.LEFT);
    assertThat(link.failure()).isNull();
  }

  @Test
  void aFailureOfAnyStreamIsOneOfTheLink() throws Exception {
    theirs.get(2).abort("disk full");
    assertThat(link.failure()).isEqualTo("cannot go on: disk full");
    link.sleep(Long.MAX_VALUE); // there is nothing to wait for
    link.send(CALL, 0, ByteBuffer.allocate(0));
    link.send(CALL, 1, ByteBuffer.allocate(0));
    assertThatThrownBy(() -> link.send(CALL, 2, ByteBuffer.allocate(0)))
        .isInstanceOf(PeerLostException.class)
        .hasMessage("cannot go on: disk full");
  }

  @Test
  void abortsAndLossesReachAllStreams() {
    link.abort("disk full");
    link.lost("is gone");
    for (int stream = 0; stream < STREAMS; stream++) {
      assertThat(theirs.get(stream).endReason()).isEqualTo("cannot go on: disk full");
      assertThat(ours.get(stream).endReason()).isEqualTo("is gone");
    }
  }
}
