package dev.phalanx.collectives.transport.handshake;

import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.handshake.Meeting.Answer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * A rank's meetings with others, in all its groups. Of those that it has left only the reasons are
 * kept, for peers that come late. Any thread.
 *
 * @param <C> a connection
 */
public final class Meetings<C> {
  private record Slot(GroupId group, int peer, int stream) {}

  /**
   * A rank that has come with a connection of its own.
   *
   * @param answer what it hears
   * @param met where its connection belongs if it is welcome, also where the meeting is left before
   *     it is there
   */
  public record Arrival<C>(Answer answer, CompletableFuture<C> met) {}

  /**
   * So many reasons, and numbers of this rank in groups, are kept, the latest ones; who comes later
   * still is let in and waits for as long as he would for a rank that is busy.
   */
  static final int MOST_REASONS = 4096;

  private final Map<Slot, Meeting<C>> bySlot = new HashMap<>(); // guarded by this, as the next
  private final Map<Slot, String> reasons = new LinkedHashMap<>(); // in the order of leaving
  private final Map<GroupId, Integer> ownRanks = new LinkedHashMap<>(); // the oldest first
  private final Map<Slot, Integer> addressees = new HashMap<>(); // of who came before that

  private final int streams;

  /**
   * @param streams connections between two ranks of a group
   */
  public Meetings(int streams) {
    this.streams = streams;
  }

  /**
   * From now on this rank's number in a group is known: whoever looks for another one there has
   * come to the wrong place.
   *
   * @param unwanted takes connections of such that have come before
   */
  public void join(GroupId group, int rank, Consumer<C> unwanted) {
    List<Meeting<C>> strays = new ArrayList<>();
    synchronized (this) { // not held while they are closed
      ownRanks.put(group, rank);
      forgetOldest(ownRanks);
      addressees
          .entrySet()
          .removeIf(
              sought -> {
                boolean isOfGroup = sought.getKey().group().equals(group);
                if (isOfGroup && sought.getValue() != rank) {
                  strays.add(bySlot.remove(sought.getKey()));
                }
                return isOfGroup;
              });
    }
    strays.forEach(stray -> stray.met().thenAccept(unwanted));
  }

  /** With a rank of a group, for one of the connections: the same one whoever comes first. */
  public synchronized Meeting<C> with(GroupId group, int peer, int stream) {
    Slot slot = new Slot(group, peer, stream);
    String reason = reasons.get(slot);
    if (reason != null) {
      Meeting<C> over = new Meeting<>();
      over.end(reason);
      return over;
    }
    return bySlot.computeIfAbsent(slot, absent -> new Meeting<>(left -> forget(absent, left)));
  }

  /**
   * The rank has come that has said this. Ranks that count their connections differently would wait
   * for messages where the other does not send them.
   */
  public Arrival<C> arrive(Hello hello) {
    if (hello.streams() != streams) {
      Answer answer =
          new Answer(
              Answer.Kind.OVER,
              "has "
                  + streams
                  + " streams to each rank where this one has "
                  + hello.streams()
                  + "; communication.streams must be the same on all");
      return new Arrival<>(answer, new CompletableFuture<>());
    }
    Meeting<C> meeting;
    synchronized (this) { // with join
      Integer own = ownRanks.get(hello.group());
      if (own != null && own != hello.to()) {
        return new Arrival<>(
            new Answer(
                Answer.Kind.OVER,
                "is not what listens at its address: that is this group's rank "
                    + own
                    + ". Look at port mappings, and at addresses that several hosts have"),
            new CompletableFuture<>());
      }
      meeting = with(hello.group(), hello.from(), hello.stream());
      Slot slot = new Slot(hello.group(), hello.from(), hello.stream());
      if (own == null && bySlot.get(slot) == meeting) {
        addressees.put(slot, hello.to());
      }
    }
    return new Arrival<>(meeting.arrive(hello.from() > hello.to()), meeting.met());
  }

  private synchronized void forget(Slot slot, String reason) {
    bySlot.remove(slot);
    reasons.put(slot, reason);
    forgetOldest(reasons);
  }

  private static <K> void forgetOldest(Map<K, ?> kept) {
    if (kept.size() > MOST_REASONS) {
      kept.remove(kept.keySet().iterator().next());
    }
  }

  /** Takes every connection that nobody has left, also those that open only later. */
  public void forEach(Consumer<C> taker) {
    List<Meeting<C>> all;
    synchronized (this) { // not held while takers run
      all = List.copyOf(bySlot.values());
    }
    all.forEach(meeting -> meeting.met().thenAccept(taker));
  }

  synchronized int size() {
    return bySlot.size();
  }
}
