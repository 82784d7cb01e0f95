package dev.phalanx.collectives.transport.handshake;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.handshake.Meeting.Answer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** What the connecting rank says in {@link Hello}'s exchange. One thread. */
public final class ConnectingSide {
  /**
   * A rank answers at once, whatever its other threads do, and the rendezvous tells within less
   * than this where its process is stopped or gone.
   */
  public static final Duration PATIENCE = ListeningSide.PATIENCE;

  private static final Answer.Kind[] KINDS = Answer.Kind.values();

  private final JobToken token;
  private final Hello hello;
  private final byte[] challenge = Hello.newChallenge();
  private final byte[] theirChallenge = new byte[Hello.CHALLENGE_BYTES];

  public ConnectingSide(JobToken token, Hello hello) {
    this.token = token;
    this.hello = hello;
  }

  /**
   * What is sent upon the listener's greeting.
   *
   * @param greeting {@link Hello#GREETING_BYTES}
   * @throws IllegalArgumentException where it is none; the message is a clause about the other side
   */
  public ByteBuffer hello(ByteBuffer greeting) {
    requireBytes(greeting, Hello.GREETING_BYTES);
    Hello.readMagic(greeting);
    greeting.get(theirChallenge);
    ByteBuffer message = ByteBuffer.allocate(Hello.HELLO_BYTES);
    Hello.writeMagic(message);
    hello.write(message);
    return message
        .put(challenge)
        .put(hello.connectorProof(token, theirChallenge, challenge))
        .flip();
  }

  /** How long an answer is of which at least {@link Hello#ANSWER_BYTES} are there. */
  public static int answerBytes(ByteBuffer start) {
    int reason = start.getShort(start.position() + Hello.ANSWER_BYTES - Short.BYTES);
    return Hello.ANSWER_BYTES + Short.toUnsignedInt((short) reason);
  }

  /**
   * What the listener has decided.
   *
   * @param answer as long as {@link #answerBytes} says
   * @throws IllegalArgumentException where the listener is not of this job; the message is a clause
   *     about it
   */
  public Answer answer(ByteBuffer answer) {
    if (answer.remaining() < Hello.ANSWER_BYTES) {
      throw new IllegalArgumentException("does not speak Phalanx's protocol");
    }
    requireBytes(answer, answerBytes(answer));
    byte[] proof = new byte[Hello.PROOF_BYTES];
    answer.get(proof);
    if (!hello.isListener(token, theirChallenge, challenge, proof)) {
      throw new IllegalArgumentException("does not hold this job's token");
    }
    int kind = Byte.toUnsignedInt(answer.get());
    answer.getShort();
    if (kind >= KINDS.length) {
      throw new IllegalArgumentException("gave an answer of unknown kind " + kind);
    }
    return new Answer(KINDS[kind], StandardCharsets.UTF_8.decode(answer).toString());
  }

  private static void requireBytes(ByteBuffer message, int bytes) {
    if (message.remaining() != bytes) {
      throw new IllegalArgumentException("does not speak Phalanx's protocol");
    }
  }

  /** Why the peer is given up that has not answered in that time, as a clause about it. */
  public static String silent(Object address) {
    return "has not answered at "
        + address
        + " within "
        + Deadline.text(PATIENCE)
        + ": where its process runs, look at firewalls and proxies between the two";
  }

  /** How long an attempt to connect may take where ranks wait so long for each other. */
  public static Duration patience(Duration timeout) {
    return timeout.compareTo(PATIENCE) < 0 ? timeout : PATIENCE;
  }

  /**
   * Why there is no connection to the peer, as a failure that its communicator names it in.
   *
   * @param address of the other side
   * @param clause that goes on after "what answers there"
   */
  public PeerLostException failure(String address, String clause) {
    return new PeerLostException(
        hello.to(),
        "cannot be reached at "
            + address
            + ": what answers there "
            + clause
            + ". Start all ranks from one job and one version of Phalanx");
  }
}
