package dev.phalanx.collectives.transport.grpc;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.handshake.ConnectingSide;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.Meeting;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.util.concurrent.CompletableFuture;

/**
 * The connecting side: greeting, hello, answer, then frames. It has a connection of its own, so
 * that a group that does not read holds up no other one.
 */
final class ConnectingStream extends PeerStream {
  private enum State {
    GREETING,
    ANSWER,
    OPEN,
    OVER
  }

  private final Hello hello;
  private final InetSocketAddress address;
  private final ConnectingSide side;
  private final CompletableFuture<PeerStream> connected;
  private final ManagedChannel channel;
  private final ClientCall<InputStream, InputStream> call;
  private final ArrivedBytes arrived = new ArrivedBytes();
  private State state = State.GREETING; // the event loop's
  private boolean isFinished; // guarded by this: gRPC takes one caller at a time

  /**
   * @param connected gets this stream, or the reason why there is none; nothing where the other
   *     side opens one itself
   */
  ConnectingStream(
      ManagedChannel channel,
      InetSocketAddress address,
      JobToken token,
      Hello hello,
      CompletableFuture<PeerStream> connected) {
    this.hello = hello;
    this.address = address;
    this.side = new ConnectingSide(token, hello);
    this.connected = connected;
    this.channel = channel;
    this.call =
        channel.newCall(
            FrameMethod.EXCHANGE,
            CallOptions.DEFAULT
                .withOnReadyThreshold(GrpcEndpoint.READY_BYTES)
                .withStreamTracerFactory(arrived.ofOwnCall()));
  }

  void start() {
    call.start(new Listener(), new Metadata());
    requestOne();
  }

  /** On the event loop, when the peer has had time enough: a network may deliver nothing. */
  void requireAnswered() {
    if (state == State.GREETING || state == State.ANSWER) {
      state = State.OVER;
      connected.completeExceptionally(
          new PeerLostException(hello.to(), ConnectingSide.silent(address)));
      cut("has not answered");
    }
  }

  @Override
  synchronized boolean isReady() {
    return !isFinished && call.isReady();
  }

  @Override
  synchronized boolean hasSentAll() {
    return isFinished || call.isReady();
  }

  @Override
  synchronized void send(InputStream message) {
    if (!isFinished) {
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
  synchronized void finish() {
    if (!isFinished) {
      isFinished = true;
      call.halfClose();
    }
  }

  @Override
  void cut(String reason) {
    synchronized (this) { // with send
      isFinished = true;
    }
    call.cancel(reason, null);
    channel.shutdownNow();
  }

  private void accept(Meeting.Answer answer) {
    if (answer.kind() == Meeting.Answer.Kind.WELCOME) {
      state = State.OPEN;
      if (!connected.complete(this)) {
        cut("there is another stream");
      }
      return;
    }
    state = State.OVER;
    if (answer.kind() == Meeting.Answer.Kind.OVER) {
      connected.completeExceptionally(new PeerLostException(hello.to(), answer.reason()));
    }
    cut("not wanted");
  }

  private void fail(String clause) {
    state = State.OVER;
    connected.completeExceptionally(side.failure(address.toString(), clause));
    cut(clause);
  }

  private void closed(Status status) {
    channel.shutdownNow();
    synchronized (this) { // with send
      isFinished = true;
    }
    switch (state) {
      case GREETING -> {
        if (status.getCode() == Status.Code.UNAVAILABLE) {
          connected.completeExceptionally(
              new PeerLostException(
                  hello.to(), "cannot be reached at " + address + ": " + cause(status)));
        } else {
          fail("gave no greeting: " + status.getCode() + " " + status.getDescription());
        }
      }
      case ANSWER ->
          fail("closed the stream before it was open, so it is of another job or is gone");
      case OPEN -> tellEnded(lossReason(status));
      case OVER -> {
        // It has been told.
      }
    }
  }

  private static String cause(Status status) {
    Throwable cause = status.getCause();
    return String.valueOf(cause == null ? status.getDescription() : cause.getMessage());
  }

  private final class Listener extends ClientCall.Listener<InputStream> {
    @Override
    public void onMessage(InputStream message) {
      if (state == State.OPEN) {
        tellReceived(message);
        return;
      }
      try {
        if (state == State.GREETING) {
          state = State.ANSWER;
          send(FrameMethod.message(side.hello(FrameMethod.content(message))));
          requestOne();
        } else if (state == State.ANSWER) {
          accept(side.answer(FrameMethod.content(message)));
        }
      } catch (IllegalArgumentException e) {
        fail(String.valueOf(e.getMessage()));
      }
    }

    @Override
    public void onReady() {
      tellReady();
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      closed(status);
    }
  }
}
