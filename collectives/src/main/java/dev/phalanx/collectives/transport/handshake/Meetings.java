package dev.phalanx.collectives.transport.handshake;

import dev.phalanx.collectives.transport.GroupId;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/**
 * A rank's meetings with others, in all its groups. Any thread.
 *
 * @param <C> a connection
 */
public final class Meetings<C> {
  private record Slot(GroupId group, int peer) {}

  private final Map<Slot, Meeting<C>> bySlot = new ConcurrentHashMap<>();

  /** With a rank of a group: the same one whoever comes first. */
  public Meeting<C> with(GroupId group, int peer) {
    return bySlot.computeIfAbsent(new Slot(group, peer), absent -> new Meeting<>());
  }

  /** Takes every connection, also those that open only later. */
  public void forEach(Consumer<C> taker) {
    bySlot.values().forEach(meeting -> meeting.met().thenAccept(taker));
  }
}
