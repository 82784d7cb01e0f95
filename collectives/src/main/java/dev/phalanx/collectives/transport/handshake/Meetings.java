package dev.phalanx.collectives.transport.handshake;

import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.handshake.Meeting.Answer;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/**
 * A rank's meetings with others, in all its groups. Any thread.
 *
 * @param <C> a connection
 */
public final class Meetings<C> {
  private record Slot(GroupId group, int peer, int stream) {}

  private final Map<Slot, Meeting<C>> bySlot = new ConcurrentHashMap<>();
  private final int streams;

  /**
   * @param streams connections between two ranks of a group
   */
  public Meetings(int streams) {
    this.streams = streams;
  }

  /** With a rank of a group, for one of the connections: the same one whoever comes first. */
  public Meeting<C> with(GroupId group, int peer, int stream) {
    return bySlot.computeIfAbsent(new Slot(group, peer, stream), absent -> new Meeting<>());
  }

  /** With the rank that has said this. */
  public Meeting<C> with(Hello hello) {
    return with(hello.group(), hello.from(), hello.stream());
  }

  /**
   * What the rank hears that has said this. Ranks that count their connections differently would
   * wait for messages where the other does not send them.
   */
  public Answer answer(Hello hello) {
    if (hello.streams() != streams) {
      return new Answer(
          Answer.Kind.OVER,
          "has "
              + streams
              + " streams to each rank where this one has "
              + hello.streams()
              + "; communication.streams must be the same on all");
    }
    return with(hello).arrive(hello.from() > hello.to());
  }

  /** Takes every connection, also those that open only later. */
  public void forEach(Consumer<C> taker) {
    bySlot.values().forEach(meeting -> meeting.met().thenAccept(taker));
  }
}
