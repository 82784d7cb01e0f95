package dev.phalanx.collectives.transport.grpc;

import io.grpc.Status;
import java.io.InputStream;
import org.jspecify.annotations.Nullable;

/**
 * A stream to one peer that has proven itself, whichever of the two has opened it.
 *
 * <p>Thread: any; what comes from the peer comes on the event loop.
 */
abstract class PeerStream {
  /** Where a stream's news go, on the event loop. */
  interface Receiver {
    /** A message, which the receiver closes. The next one comes when it is asked for. */
    void received(InputStream message);

    /** {@link #isReady} has become true. */
    void isReadyAgain();

    /** Nothing more will come or go. The text goes on after the rank's name. */
    void ended(String reason);
  }

  private volatile @Nullable Receiver receiver;
  private volatile @Nullable String end;

  /** From now on news go to this receiver, and the first message is asked for. */
  final void attach(Receiver taker) {
    receiver = taker;
    String reason = end;
    if (reason != null) {
      taker.ended(reason);
    } else {
      requestOne();
    }
  }

  /** Whether gRPC would send a message at once, rather than keep it. */
  abstract boolean isReady();

  /** Whether what was handed over is with the system, or the stream is at its end. */
  abstract boolean hasSentAll();

  /** Hands a message over; gRPC has copied it when this returns. Dropped where all is over. */
  abstract void send(InputStream message);

  /** How much has come so far, parts of messages too. Any thread may ask. */
  abstract long arrivedBytes();

  /** One more message may come. */
  abstract void requestOne();

  /** This side has nothing more to say; what it has said still arrives. */
  abstract void finish();

  /** Ends at once, in both directions. */
  abstract void cut(String reason);

  /** On the event loop. */
  final void tellReady() {
    Receiver told = receiver;
    if (told != null) {
      told.isReadyAgain();
    }
  }

  /** On the event loop: a message that was asked for by {@link #attach} or later. */
  final void tellReceived(InputStream message) {
    Receiver told = receiver;
    if (told == null) {
      throw new IllegalStateException("A message that nobody has asked for");
    }
    told.received(message);
  }

  /** On the event loop. */
  final void tellEnded(String reason) {
    end = reason; // before the look at the receiver: attach looks the other way round
    Receiver told = receiver;
    if (told != null) {
      told.ended(reason);
    }
  }

  /** Why a stream has ended that said no farewell. */
  static String lossReason(Status status) {
    return switch (status.getCode()) {
      case OK, UNAVAILABLE, CANCELLED ->
          "is gone: its stream ended without a farewell, so its process has ended or was killed";
      default -> "has a broken stream: " + status.getCode() + " " + status.getDescription();
    };
  }
}
