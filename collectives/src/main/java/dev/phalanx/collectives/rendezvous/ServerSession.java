package dev.phalanx.collectives.rendezvous;

import com.google.protobuf.ByteString;
import dev.phalanx.collectives.rendezvous.wire.Challenge;
import dev.phalanx.collectives.rendezvous.wire.FromRank;
import dev.phalanx.collectives.rendezvous.wire.FromServer;
import dev.phalanx.collectives.rendezvous.wire.Hello;
import dev.phalanx.collectives.rendezvous.wire.Join;
import dev.phalanx.collectives.rendezvous.wire.Refusal;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.InputStream;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * The server's side of one rank's stream: challenge, proof, admission, end. gRPC calls it in order.
 */
final class ServerSession implements StreamObserver<InputStream> {
  private final JobToken token;
  private final Gathering gathering;
  private final StreamObserver<FromServer> toRank;
  private final Consumer<String> refusals;
  private final byte[] challenge = Challenges.random();
  private byte[] rankChallenge = new byte[0];
  private boolean isGreeted;
  private volatile boolean isProven;
  private volatile boolean isRefused;
  private int rank = -1;
  private volatile boolean isOver; // changed with the lock of toRank

  /**
   * @param refusals hears why this stream was turned away
   */
  ServerSession(
      JobToken token,
      Gathering gathering,
      StreamObserver<FromServer> toRank,
      Consumer<String> refusals) {
    this.token = token;
    this.gathering = gathering;
    this.toRank = toRank;
    this.refusals = refusals;
  }

  /** Ends the stream of one who has had time enough to prove that it knows the token. */
  void requireProven() {
    if (!isProven && !isOver) {
      refuse("it " + ListeningSide.SILENT + ".");
    }
  }

  @Override
  public void onNext(InputStream unparsed) {
    try {
      FromRank message = JoinMethod.read(unparsed, FromRank.parser(), isProven);
      if (!isOver) {
        heard(message);
      }
    } catch (IOException e) {
      if (!isOver) {
        refuse("it " + e.getMessage() + ".");
      }
    }
  }

  private void heard(FromRank message) {
    switch (message.getContentCase()) {
      case HELLO -> greet(message.getHello());
      case JOIN -> join(message.getJoin());
      case HEARTBEAT -> gathering.heard(rank, this);
      case STATUS_QUERY -> gathering.ask(rank, this);
      case STATUS_REPLY -> gathering.answer(rank, message.getStatusReply());
      case DELIVERY_QUERY -> gathering.pass(rank, this, message.getDeliveryQuery());
      case DELIVERY_REPLY -> gathering.pass(rank, this, message.getDeliveryReply());
      case LEAVE -> end(Optional.empty());
      case CONTENT_NOT_SET -> refuse("it has sent an empty message.");
    }
  }

  private void greet(Hello hello) {
    if (hello.getProtocol() != RendezvousServer.PROTOCOL) {
      refuse(
          "it speaks protocol version "
              + hello.getProtocol()
              + " and the rendezvous "
              + RendezvousServer.PROTOCOL
              + ". Use one version of Phalanx everywhere.");
      return;
    }
    if (isGreeted || hello.getChallenge().size() != Challenges.BYTES) {
      refuse("its greeting is not one of this protocol.");
      return;
    }
    isGreeted = true;
    rankChallenge = hello.getChallenge().toByteArray();
    byte[] proof = token.prove(rankChallenge, Challenges.server(challenge));
    tell(
        FromServer.newBuilder()
            .setChallenge(
                Challenge.newBuilder()
                    .setChallenge(ByteString.copyFrom(challenge))
                    .setProof(ByteString.copyFrom(proof)))
            .build());
  }

  private void join(Join join) {
    String purpose = Challenges.rank(join.getRank(), join.getWorldSize(), rankChallenge);
    if (!isGreeted || !token.verify(challenge, purpose, join.getProof().toByteArray())) {
      refuse(
          "it does not hold this job's token, or is of another attempt (PHALANX_ATTEMPT). Start it"
              + " from this job's launcher.");
      return;
    }
    isProven = true;
    Optional<String> objection = gathering.enter(join, this);
    if (objection.isPresent()) {
      refuse(objection.get());
    } else {
      rank = join.getRank();
    }
  }

  /** Sends a message; several threads may. */
  void tell(FromServer message) {
    synchronized (toRank) { // gRPC's observers are not safe for several threads, nor after the end
      if (!isOver) {
        toRank.onNext(message);
      }
    }
  }

  private void refuse(String reason) {
    isRefused = true;
    refusals.accept(reason);
    tell(FromServer.newBuilder().setRefusal(Refusal.newBuilder().setReason(reason)).build());
    end(Optional.empty());
  }

  @Override
  public void onError(Throwable thrown) {
    synchronized (toRank) { // see tell
      noteUnproven();
      isOver = true;
    }
    gathering.leave(rank, this, Optional.of("is gone: its connection to the rendezvous has ended"));
  }

  @Override
  public void onCompleted() {
    end(Optional.of("has closed its connection to the rendezvous"));
  }

  private void end(Optional<String> loss) {
    synchronized (toRank) { // see tell
      if (isOver) {
        return;
      }
      noteUnproven();
      isOver = true;
      toRank.onCompleted();
    }
    gathering.leave(rank, this, loss);
  }

  /** Who does not find its own job's token here leaves by itself. */
  private void noteUnproven() {
    if (!isProven && !isRefused && !isOver) {
      refusals.accept("it has left without proof that it holds this job's token.");
    }
  }
}
