package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.rendezvous.wire.DeliveryQuery;
import dev.phalanx.collectives.rendezvous.wire.DeliveryReply;
import dev.phalanx.collectives.rendezvous.wire.FromServer;
import dev.phalanx.collectives.rendezvous.wire.Heartbeat;
import dev.phalanx.collectives.rendezvous.wire.Join;
import dev.phalanx.collectives.rendezvous.wire.Lost;
import dev.phalanx.collectives.rendezvous.wire.Member;
import dev.phalanx.collectives.rendezvous.wire.Members;
import dev.phalanx.collectives.rendezvous.wire.RankStatus;
import dev.phalanx.collectives.rendezvous.wire.Refusal;
import dev.phalanx.collectives.rendezvous.wire.StatusReply;
import dev.phalanx.collectives.rendezvous.wire.StatusRequest;
import dev.phalanx.collectives.rendezvous.wire.StatusTable;
import dev.phalanx.collectives.transport.Deadline;
import io.netty.channel.EventLoopGroup;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Who has come, who is missing, who is lost. The server's calls come from several threads. */
final class Gathering {
  /** How often ranks and the server tell that they are alive, and how often it is looked at. */
  static final Duration HEARTBEAT = Duration.ofSeconds(1);

  private static final FromServer ALIVE =
      FromServer.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()).build();

  /** How long ranks have to tell where they are. */
  private static final long ANSWER_MILLIS = 1500;

  /** A question that is being answered. */
  private static final class Inquiry {
    final Set<ServerSession> askers = new HashSet<>();
    final SortedMap<Integer, List<RankStatus>> answers = new TreeMap<>();
  }

  private record Present(Join join, ServerSession session) {}

  private final int worldSize;
  private final Duration timeout;
  private final EventLoopGroup timer;
  private final Duration silence;
  private final SortedMap<Integer, Present> present = new TreeMap<>();
  private final Map<Integer, Long> lastHeardNanos = new HashMap<>();

  /** Why the ranks that have come in vain were not let in. */
  private final SortedMap<Integer, String> objections = new TreeMap<>();

  private String fingerprint = "";
  private long lastLookNanos = System.nanoTime();
  private boolean hasTimers;
  private boolean isComplete;
  private boolean isOver;
  private @Nullable Inquiry inquiry;
  private long inquiryNumber;
  private Consumer<SortedMap<Integer, List<RankStatus>>> inquiryListener = answers -> {};
  private Consumer<List<Integer>> absenceListener = missing -> {};

  /**
   * @param silence after which a rank counts as lost
   */
  Gathering(int worldSize, Duration timeout, Duration silence, EventLoopGroup timer) {
    this.worldSize = worldSize;
    this.timeout = timeout;
    this.silence = silence;
    this.timer = timer;
  }

  synchronized void heard(int rank, ServerSession session) {
    Present known = present.get(rank);
    if (known != null && known.session() == session) {
      lastHeardNanos.put(rank, System.nanoTime());
      session.tell(ALIVE);
    }
  }

  private synchronized void findSilent() {
    long now = System.nanoTime();
    boolean hasSlept = now - lastLookNanos > 3 * HEARTBEAT.toNanos();
    lastLookNanos = now;
    if (!isComplete) {
      return; // who has not come yet is another matter, and those who wait send nothing
    }
    if (hasSlept) { // we were stopped ourselves: what the ranks have sent meanwhile is still unread
      present.keySet().forEach(rank -> lastHeardNanos.put(rank, now));
      return;
    }
    for (Map.Entry<Integer, Present> one : List.copyOf(present.entrySet())) {
      long silent = now - lastHeardNanos.getOrDefault(one.getKey(), now);
      if (silent > silence.toNanos()) {
        leave(
            one.getKey(),
            one.getValue().session(),
            Optional.of(
                "has given no sign of life for "
                    + Deadline.text(silence)
                    + ": its process is stopped, or its host cannot be reached"));
      }
    }
  }

  /** Lets a rank in that has proven the token, or tells why not. */
  synchronized Optional<String> enter(Join join, ServerSession session) {
    Optional<String> objection = objection(join);
    if (objection.isPresent()) {
      objections.put(join.getRank(), objection.get());
      return objection;
    }
    if (present.isEmpty()) {
      fingerprint = join.getFingerprint();
      startTimers();
    }
    present.put(join.getRank(), new Present(join, session));
    objections.remove(join.getRank());
    if (present.size() == worldSize) {
      isComplete = true;
      long now = System.nanoTime();
      present.keySet().forEach(rank -> lastHeardNanos.put(rank, now));
      Members.Builder members = Members.newBuilder();
      present.values().forEach(one -> members.addMembers(member(one.join())));
      tellAll(FromServer.newBuilder().setMembers(members).build());
    }
    return Optional.empty();
  }

  /**
   * With the first rank, on the server's own thread: tasks that began while the server is still
   * being set up would load the network libraries' classes on two threads at once, and these wait
   * for each other for ever.
   */
  private void startTimers() {
    if (hasTimers) {
      return;
    }
    hasTimers = true;
    long period = Math.min(HEARTBEAT.toMillis(), Math.max(1, silence.toMillis() / 4));
    timer.scheduleAtFixedRate(this::findSilent, period, period, TimeUnit.MILLISECONDS);
    timer.schedule(this::timeOut, Deadline.nanos(timeout), TimeUnit.NANOSECONDS);
  }

  private Optional<String> objection(Join join) {
    if (isOver) {
      return Optional.of("the job's ranks have waited long enough and gone. Start the job again.");
    }
    if (join.getWorldSize() != worldSize) {
      return Optional.of(
          "it belongs to a job of "
              + join.getWorldSize()
              + " ranks and this one has "
              + worldSize
              + ". Give every rank the same WORLD_SIZE.");
    }
    if (join.getRank() < 0 || join.getRank() >= worldSize) {
      return Optional.of(
          "the job has no rank "
              + Integer.toUnsignedString(join.getRank())
              + ", they run from 0 to "
              + (worldSize - 1)
              + ".");
    }
    if (isComplete && !present.containsKey(join.getRank())) {
      return Optional.of(
          "the job has begun, and a rank that was lost cannot come back into it. Start the job"
              + " again with --resume.");
    }
    if (present.containsKey(join.getRank())) {
      return Optional.of(
          "a rank of this number has come already, process "
              + present.get(join.getRank()).join().getMember().getPid()
              + " on "
              + present.get(join.getRank()).join().getMember().getHostName()
              + ". Give every process a RANK of its own.");
    }
    if (!present.isEmpty() && !join.getFingerprint().equals(fingerprint)) {
      return Optional.of(
          "its plan or version differs from that of rank "
              + present.firstKey()
              + ". Start all ranks with the same plan file and the same version of Phalanx.");
    }
    return Optional.empty();
  }

  private static Member member(Join join) {
    return join.getMember().toBuilder().setRank(join.getRank()).build();
  }

  private synchronized void timeOut() {
    if (isComplete || isOver) {
      return;
    }
    isOver = true;
    List<Integer> missing =
        IntStream.range(0, worldSize).filter(rank -> !present.containsKey(rank)).boxed().toList();
    try {
      absenceListener.accept(missing);
    } finally { // whatever becomes of that
      tellAll(timedOut(missing));
    }
  }

  private FromServer timedOut(List<Integer> missing) {
    return FromServer.newBuilder()
        .setRefusal(
            Refusal.newBuilder()
                .setKind(Refusal.Kind.TIMED_OUT)
                .setReason(
                    "rank "
                        + missing.stream().map(String::valueOf).collect(Collectors.joining(", "))
                        + " of "
                        + worldSize
                        + " has not joined within "
                        + Deadline.text(timeout)
                        + ". "
                        + refused(missing)
                        + "Look at its log, or raise communication.timeout_s."))
        .build();
  }

  /** Who is missing may have come, with the token, and have been turned away. */
  private String refused(List<Integer> missing) {
    return missing.stream()
        .filter(objections::containsKey)
        .map(rank -> "Rank " + rank + " came and was turned away: " + objections.get(rank) + " ")
        .collect(Collectors.joining());
  }

  /** A rank's stream has ended. */
  synchronized void leave(int rank, ServerSession session, Optional<String> loss) {
    Present known = present.get(rank);
    if (known == null || known.session() != session) {
      return;
    }
    present.remove(rank);
    lastHeardNanos.remove(rank);
    if (isComplete && loss.isPresent()) {
      tellAll(
          FromServer.newBuilder()
              .setLost(Lost.newBuilder().setRank(rank).setReason(loss.get()))
              .build());
    }
  }

  /** Hears of every inquiry: the statuses by rank of the job, of those that have answered. */
  synchronized void onInquiry(Consumer<SortedMap<Integer, List<RankStatus>>> listener) {
    inquiryListener = listener;
  }

  /** Hears which ranks have not come in time, before those that have are told. */
  synchronized void onAbsence(Consumer<List<Integer>> listener) {
    absenceListener = listener;
  }

  /** A rank has waited in vain. */
  synchronized void ask(int rank, ServerSession asker) {
    if (isUnknown(rank, asker)) {
      return;
    }
    if (inquiry == null) {
      Inquiry begun = new Inquiry();
      inquiry = begun;
      long number = ++inquiryNumber;
      tellAll(
          FromServer.newBuilder()
              .setStatusRequest(StatusRequest.newBuilder().setNumber(number))
              .build());
      timer.schedule(() -> conclude(number), ANSWER_MILLIS, TimeUnit.MILLISECONDS);
      begun.askers.add(asker);
    } else {
      inquiry.askers.add(asker);
    }
  }

  private boolean isUnknown(int rank, ServerSession session) {
    Present known = present.get(rank);
    return known == null || known.session() != session;
  }

  synchronized void answer(int rank, StatusReply reply) {
    if (inquiry == null || reply.getNumber() != inquiryNumber || !present.containsKey(rank)) {
      return;
    }
    inquiry.answers.put(rank, reply.getStatusesList());
    if (inquiry.answers.size() == present.size()) {
      conclude(inquiryNumber);
    }
  }

  private synchronized void conclude(long number) {
    Inquiry over = inquiry;
    if (over == null || number != inquiryNumber) {
      return;
    }
    inquiry = null;
    StatusTable.Builder table = StatusTable.newBuilder();
    over.answers.values().forEach(table::addAllStatuses);
    table.addAllAnswered(over.answers.keySet());
    FromServer message = FromServer.newBuilder().setStatusTable(table).build();
    over.askers.forEach(asker -> asker.tell(message));
    inquiryListener.accept(over.answers);
  }

  /** One rank asks another one. */
  synchronized void pass(int rank, ServerSession asker, DeliveryQuery query) {
    if (!isUnknown(rank, asker)) {
      tell(
          query.getRank(),
          FromServer.newBuilder().setDeliveryQuery(query.toBuilder().setRank(rank)).build());
    }
  }

  /** And is answered. */
  synchronized void pass(int rank, ServerSession answering, DeliveryReply reply) {
    if (!isUnknown(rank, answering)) {
      tell(
          reply.getRank(),
          FromServer.newBuilder().setDeliveryReply(reply.toBuilder().setRank(rank)).build());
    }
  }

  private void tell(int rank, FromServer message) {
    Present addressee = present.get(rank);
    if (addressee != null) {
      addressee.session().tell(message);
    }
  }

  private void tellAll(FromServer message) {
    present.values().forEach(one -> one.session().tell(message));
  }
}
