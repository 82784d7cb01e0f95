package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Outstanding;
import dev.phalanx.collectives.transport.Transport;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** One connection to every other rank of a group. */
final class TcpTransport implements Transport {
  private static final long CLOSE_MILLIS = 2000;

  private final int rank;
  private final List<Connection> connections = new ArrayList<>();
  private final Outstanding outstanding;
  private final AtomicBoolean isClosed = new AtomicBoolean();

  /**
   * @param channels by peer, authenticated; what stands at this rank's own place is not used
   */
  TcpTransport(int rank, List<Channel> channels) {
    this.rank = rank;
    this.outstanding = new Outstanding(channels.size());
    for (int peer = 0; peer < channels.size(); peer++) {
      connections.add(new Connection(peer, channels.get(peer), outstanding));
    }
    forEachPeer(Connection::start);
  }

  @Override
  public int rank() {
    return rank;
  }

  @Override
  public int size() {
    return connections.size();
  }

  @Override
  public String name() {
    return "tcp";
  }

  @Override
  public void send(int peer, Call call, int piece, ByteBuffer payload) {
    connections.get(peer).send(call, piece, payload);
  }

  @Override
  public Message receive(int peer, Deadline deadline) throws InterruptedException {
    return connections.get(peer).receive(deadline);
  }

  @Override
  public void flush(Deadline deadline) throws InterruptedException {
    outstanding.await(deadline, this::lossOf);
  }

  private @Nullable String lossOf(int peer) {
    return connections.get(peer).endReason();
  }

  @Override
  public void lost(int peer, String reason) {
    connections.get(peer).failed(reason);
  }

  @Override
  public void abort(String reason) {
    forEachPeer(connection -> connection.abort(reason));
  }

  @Override
  public void close() {
    if (isClosed.getAndSet(true)) {
      return;
    }
    List<ChannelFuture> closing = new ArrayList<>();
    forEachPeer(connection -> closing.add(connection.leave()));
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(CLOSE_MILLIS);
    for (ChannelFuture future : closing) {
      long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
      future.awaitUninterruptibly(Math.max(1, left));
    }
    forEachPeer(Connection::discard);
  }

  private void forEachPeer(Consumer<Connection> action) {
    for (int peer = 0; peer < connections.size(); peer++) {
      if (peer != rank) {
        action.accept(connections.get(peer));
      }
    }
  }
}
