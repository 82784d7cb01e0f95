package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Envelope;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.Message;
import java.nio.ByteBuffer;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Several connections to one peer, which messages take in turn: networks that limit what a single
 * one may carry let several carry more. The i-th message goes out on connection {@code i mod k} and
 * is looked for there alone, so that messages keep their order and need no numbers, however the
 * connections overtake each other. A message is never divided: an operation uses all connections
 * from as many pieces on.
 *
 * <pre>
 *   messages sent      connection      in the order of receipt
 *     0   3   6   --------- 0 ---------  0   3   6
 *     1   4   7   --------- 1 ---------    1   4   7
 *     2   5       --------- 2 ---------      2   5
 * </pre>
 *
 * <p>Thread: as {@link Link} says.
 */
final class StripedLink implements Link {
  private final Link[] links;
  private int sending; // the one that takes the next message
  private volatile int receiving; // the one that brings the next message; the one thread's

  /**
   * @param links in the order that the peer has them in too; at least one
   */
  StripedLink(List<? extends Link> links) {
    this.links = links.toArray(Link[]::new);
  }

  private int after(int index) {
    return index + 1 == links.length ? 0 : index + 1;
  }

  @Override
  public void send(Call call, int piece, ByteBuffer payload) {
    links[sending].send(call, piece, payload);
    sending = after(sending);
  }

  @Override
  public @Nullable Message poll(@Nullable ByteBuffer into) {
    Message message = links[receiving].poll(into);
    if (message != null) {
      receiving = after(receiving);
    }
    return message;
  }

  @Override
  public @Nullable Envelope peek() {
    noticeEnds();
    return links[receiving].peek();
  }

  /** Nobody reads from a connection that is not due: a look is what tells that it has ended. */
  private void noticeEnds() {
    for (int index = after(receiving); index != receiving; index = after(index)) {
      links[index].peek();
    }
  }

  @Override
  public boolean advance() {
    boolean hasMoved = false;
    for (Link link : links) {
      hasMoved |= link.advance();
    }
    return hasMoved;
  }

  @Override
  public boolean isFlushed() {
    for (Link link : links) {
      if (!link.isFlushed()) {
        return false;
      }
    }
    return true;
  }

  @Override
  public boolean needsPolling() {
    for (Link link : links) {
      if (link.needsPolling()) {
        return true;
      }
    }
    return false;
  }

  /**
   * A farewell comes on each connection, and on another one it may overtake the messages of the one
   * that is due. A failure of any ends all, for what was to come on it is lost.
   */
  @Override
  public @Nullable String endReason() {
    String reason = links[receiving].endReason();
    for (int index = after(receiving); reason == null && index != receiving; index = after(index)) {
      reason = links[index].failure();
    }
    return reason;
  }

  @Override
  public @Nullable Received received() {
    int due = receiving;
    Received onIt = links[due].received();
    return onIt == null ? null : new Received(due, onIt.amount(), onIt.bytes());
  }

  /** 0 of a stream that there is not, for who asks may be anybody who knows the token. */
  @Override
  public long handedOver(int stream) {
    return stream >= 0 && stream < links.length ? links[stream].handedOver(0) : 0;
  }

  @Override
  public void sleep(long nanos) throws InterruptedException {
    noticeEnds();
    if (endReason() == null) {
      links[receiving].sleep(nanos);
    }
  }

  @Override
  public void lost(String reason) {
    for (Link link : links) {
      link.lost(reason);
    }
  }

  @Override
  public void abort(String reason) {
    for (Link link : links) {
      link.abort(reason);
    }
  }

  @Override
  public void leave(Deadline deadline) {
    for (Link link : links) {
      link.leave(deadline);
    }
  }
}
