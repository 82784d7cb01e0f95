package dev.phalanx.collectives.transport.grpc;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import dev.phalanx.collectives.transport.handshake.Meeting;
import dev.phalanx.collectives.transport.handshake.Meetings;
import dev.phalanx.collectives.transport.handshake.Refusals;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.Status;
import java.io.InputStream;

/**
 * The listening side: greeting, hello, answer, then frames. Whoever does not prove the token is cut
 * off without an answer.
 */
final class ListeningStream extends PeerStream {
  private enum State {
    HELLO,
    OPEN,
    OVER
  }

  private final ServerCall<InputStream, InputStream> call;
  private final ListeningSide side;
  private final Meetings<PeerStream> meetings;
  private final Refusals refusals;
  private final ArrivedBytes arrived = ArrivedBytes.ofThisCall();
  private State state = State.HELLO; // the event loop's
  private boolean isClosed; // guarded by this: gRPC takes one caller at a time

  ListeningStream(
      ServerCall<InputStream, InputStream> call,
      JobToken token,
      Meetings<PeerStream> meetings,
      Refusals refusals) {
    this.call = call;
    this.side = new ListeningSide(token, GrpcEndpoint.CARRIER);
    this.meetings = meetings;
    this.refusals = refusals;
  }

  /** On the event loop, as all of the greeting. */
  ServerCall.Listener<InputStream> start() {
    call.setOnReadyThreshold(GrpcEndpoint.READY_BYTES);
    call.sendHeaders(new Metadata());
    send(FrameMethod.message(side.greeting()));
    requestOne();
    return new Listener();
  }

  /** Cuts off whoever has not come so far as to prove the token. On the event loop. */
  void requireProven() {
    if (state == State.HELLO) {
      refuse(ListeningSide.SILENT);
    }
  }

  @Override
  synchronized boolean isReady() {
    return !isClosed && call.isReady();
  }

  @Override
  synchronized boolean hasSentAll() {
    return isClosed || call.isReady();
  }

  @Override
  synchronized void send(InputStream message) {
    if (!isClosed) {
      call.sendMessage(message);
    }
  }

  @Override
  long arrivedBytes() {
    return arrived.count();
  }

  @Override
  void requestOne() {
    call.request(1);
  }

  @Override
  void finish() {
    close(Status.OK);
  }

  @Override
  void cut(String reason) {
    close(Status.ABORTED.withDescription(reason));
  }

  private synchronized void close(Status status) {
    if (!isClosed) {
      isClosed = true;
      call.close(status, new Metadata());
    }
  }

  private void refuse(String reason) {
    state = State.OVER;
    refusals.add(call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR), reason);
    close(Status.UNAUTHENTICATED);
  }

  private void accept(Hello hello) {
    Meetings.Arrival<PeerStream> arrival = meetings.arrive(hello);
    send(FrameMethod.message(side.answer(hello, arrival.answer())));
    if (arrival.answer().kind() == Meeting.Answer.Kind.WELCOME && arrival.met().complete(this)) {
      state = State.OPEN;
    } else {
      state = State.OVER;
      finish();
    }
  }

  private void ended(Status status) {
    synchronized (this) { // with send
      isClosed = true;
    }
    if (state == State.OPEN) {
      tellEnded(lossReason(status));
    }
  }

  private final class Listener extends ServerCall.Listener<InputStream> {
    @Override
    public void onMessage(InputStream message) {
      if (state == State.OPEN) {
        tellReceived(message);
        return;
      }
      try {
        Hello hello = side.hello(FrameMethod.content(message));
        if (state == State.HELLO) {
          accept(hello);
        }
      } catch (IllegalArgumentException e) {
        refuse(String.valueOf(e.getMessage()));
      }
    }

    @Override
    public void onReady() {
      tellReady();
    }

    /** The peer has said all: there is nobody who would hear this side. */
    @Override
    public void onHalfClose() {
      finish();
    }

    @Override
    public void onComplete() {
      ended(Status.OK);
    }

    @Override
    public void onCancel() {
      ended(Status.CANCELLED);
    }
  }
}
