package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.rendezvous.wire.FromRank;
import dev.phalanx.collectives.rendezvous.wire.StatusQuery;
import dev.phalanx.collectives.rendezvous.wire.StatusReply;
import dev.phalanx.collectives.rendezvous.wire.StatusRequest;
import dev.phalanx.collectives.rendezvous.wire.StatusTable;
import dev.phalanx.collectives.status.LocalStatusBoard;
import dev.phalanx.collectives.status.RankStatus;
import dev.phalanx.collectives.status.StatusBoard;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where the job's ranks are in their groups, asked of them by way of the rendezvous; this rank's
 * own groups join it. Any thread.
 */
final class RemoteStatusBoard implements StatusBoard {
  private static final Logger LOG = LoggerFactory.getLogger(RemoteStatusBoard.class);
  private static final long STATUS_MILLIS = 2500;

  private final String self;
  private final Consumer<FromRank> toServer;
  private final Losses losses;
  private final LocalStatusBoard own = new LocalStatusBoard();
  private final AtomicReference<CompletableFuture<StatusTable>> asked = new AtomicReference<>();

  /**
   * @param self this rank's name, for the log
   * @param toServer sends a message, where there still is a server
   * @param losses that this rank knows of
   */
  RemoteStatusBoard(String self, Consumer<FromRank> toServer, Losses losses) {
    this.self = self;
    this.toServer = toServer;
    this.losses = losses;
  }

  @Override
  public void join(Member member) {
    own.join(member);
  }

  @Override
  public void leave(Member member) {
    own.leave(member);
  }

  @Override
  public Optional<String> firstLost() {
    return losses.first();
  }

  /** Several that ask at the same time get one answer. */
  @Override
  public Answers ask() throws InterruptedException {
    CompletableFuture<StatusTable> table = new CompletableFuture<>();
    CompletableFuture<StatusTable> underWay = asked.compareAndExchange(null, table);
    CompletableFuture<StatusTable> awaited = underWay == null ? table : underWay;
    try {
      if (underWay == null) {
        toServer.accept(
            FromRank.newBuilder().setStatusQuery(StatusQuery.getDefaultInstance()).build());
      }
      return answers(awaited.get(STATUS_MILLIS, TimeUnit.MILLISECONDS));
    } catch (ExecutionException | TimeoutException e) {
      LOG.debug("{}: the rendezvous has not told where the ranks are", self, e);
      return new Answers(List.of(), rank -> false);
    } finally {
      asked.compareAndSet(awaited, null);
    }
  }

  private static Answers answers(StatusTable table) {
    List<RankStatus> statuses = table.getStatusesList().stream().map(Statuses::read).toList();
    return new Answers(statuses, Set.copyOf(table.getAnsweredList())::contains);
  }

  /** The server's answer. */
  void answered(StatusTable table) {
    CompletableFuture<StatusTable> waiting = asked.get();
    if (waiting != null) {
      waiting.complete(table);
    }
  }

  /** Another rank has asked. */
  void answer(StatusRequest request) {
    StatusReply.Builder reply = StatusReply.newBuilder().setNumber(request.getNumber());
    own.answer().forEach(status -> reply.addStatuses(Statuses.write(status)));
    toServer.accept(FromRank.newBuilder().setStatusReply(reply).build());
  }
}
