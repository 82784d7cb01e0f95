package dev.phalanx.collectives.transport.handshake;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.handshake.Meeting.Answer;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** What the listening rank says in {@link Hello}'s exchange. One thread. */
public final class ListeningSide {
  /** A rank answers at once; whoever keeps silent for so long is none. */
  public static final Duration PATIENCE = Duration.ofSeconds(10);

  /** Why such a one is refused. */
  public static final String SILENT = "has not told who it is within " + Deadline.text(PATIENCE);

  private static final int LONGEST_REASON_BYTES = 8192;

  private final JobToken token;
  private final String carrier;
  private final byte[] challenge = Hello.newChallenge();
  private byte[] theirChallenge = new byte[0];

  /**
   * @param carrier see {@link Hello}
   */
  public ListeningSide(JobToken token, String carrier) {
    this.token = token;
    this.carrier = carrier;
  }

  /**
   * Nobody listens on all addresses of a host.
   *
   * @throws IllegalArgumentException where this is the wildcard
   */
  public static void requireOneAddress(InetAddress address) {
    if (address.isAnyLocalAddress()) {
      throw new IllegalArgumentException(
          "Name one address that the ranks reach, not "
              + address.getHostAddress()
              + ": whoever listens on every address is open to every network, and nobody can be"
              + " told where it is");
    }
  }

  /** What is sent first. */
  public ByteBuffer greeting() {
    ByteBuffer message = ByteBuffer.allocate(Hello.GREETING_BYTES);
    Hello.writeMagic(message);
    return message.put(challenge).flip();
  }

  /**
   * Looks at no more than the first {@link Hello#MAGIC_BYTES}.
   *
   * @throws IllegalArgumentException see {@link #hello}
   */
  public static void requireMagic(ByteBuffer start) {
    Hello.readMagic(start);
  }

  /**
   * Who has come.
   *
   * @param message {@link Hello#HELLO_BYTES}
   * @throws IllegalArgumentException where it is nobody of this job; the message is a clause about
   *     the other side
   */
  public Hello hello(ByteBuffer message) {
    if (message.remaining() != Hello.HELLO_BYTES) {
      throw new IllegalArgumentException("does not speak Phalanx's protocol");
    }
    Hello.readMagic(message);
    Hello hello = Hello.read(carrier, message);
    byte[] theirs = new byte[Hello.CHALLENGE_BYTES];
    byte[] proof = new byte[Hello.PROOF_BYTES];
    message.get(theirs).get(proof);
    if (!hello.isConnector(token, challenge, theirs, proof)) {
      throw new IllegalArgumentException("does not hold this job's token");
    }
    theirChallenge = theirs;
    return hello;
  }

  /** What is sent to the one that has proven who it is. */
  public ByteBuffer answer(Hello hello, Answer answer) {
    byte[] reason = answer.reason().getBytes(StandardCharsets.UTF_8);
    int length = Math.min(reason.length, LONGEST_REASON_BYTES);
    return ByteBuffer.allocate(Hello.ANSWER_BYTES + length)
        .put(hello.listenerProof(token, challenge, theirChallenge))
        .put((byte) answer.kind().ordinal())
        .putShort((short) length)
        .put(reason, 0, length)
        .flip();
  }
}
