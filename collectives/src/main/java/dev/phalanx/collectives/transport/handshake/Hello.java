package dev.phalanx.collectives.transport.handshake;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.GroupId;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.HexFormat;

/**
 * The messages that open a connection. Each side proves that it holds the job's token by an HMAC
 * over both sides' challenges; nothing else is read from a peer before that.
 *
 * <pre>
 *   listening rank                      connecting rank
 *        | -- magic, challenge ----------------> |
 *        | <- magic, who, challenge, proof ----- |
 *        | -- proof, answer -------------------> |
 * </pre>
 *
 * @param carrier {@code tcp} or {@code grpc}: a proof for one is none for the other
 * @param from the connecting rank
 * @param to the listening rank
 * @param stream which of the connections of these two ranks, from 0
 * @param streams how many they have
 */
public record Hello(String carrier, GroupId group, int from, int to, int stream, int streams) {
  public static final int CHALLENGE_BYTES = 32;
  public static final int PROOF_BYTES = 32;
  public static final int MAGIC_BYTES = 8;

  /** Of the message that names the connecting rank, without its proof. */
  public static final int WHO_BYTES = 24;

  public static final int GREETING_BYTES = MAGIC_BYTES + CHALLENGE_BYTES;
  public static final int HELLO_BYTES = MAGIC_BYTES + WHO_BYTES + CHALLENGE_BYTES + PROOF_BYTES;

  /** A proof, the kind of the answer and the length of the reason that follows. */
  public static final int ANSWER_BYTES = PROOF_BYTES + 1 + 2;

  private static final byte[] MAGIC = "PHLX".getBytes(StandardCharsets.US_ASCII);
  private static final short VERSION = 3;

  /** Of two ranks that have one connection. */
  public Hello(String carrier, GroupId group, int from, int to) {
    this(carrier, group, from, to, 0, 1);
  }

  public static byte[] newChallenge() {
    byte[] challenge = new byte[CHALLENGE_BYTES];
    new SecureRandom().nextBytes(challenge);
    return challenge;
  }

  /** Magic, version and the sender's order of bytes. */
  public static void writeMagic(ByteBuffer out) {
    out.put(MAGIC).putShort(VERSION);
    out.put((byte) (ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN ? 'L' : 'B')).put((byte) 0);
  }

  /**
   * @throws IllegalArgumentException where the peer speaks otherwise; the message says how
   */
  static void readMagic(ByteBuffer in) {
    byte[] magic = new byte[MAGIC.length];
    in.get(magic);
    int version = Short.toUnsignedInt(in.getShort());
    byte order = in.get();
    in.get();
    if (!Arrays.equals(magic, MAGIC)) {
      throw new IllegalArgumentException("does not speak Phalanx's protocol");
    }
    if (version != VERSION) {
      throw new IllegalArgumentException(
          "speaks protocol version " + version + " and this rank " + VERSION);
    }
    if ((order == 'L') != (ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN)) {
      throw new IllegalArgumentException("has another order of bytes");
    }
  }

  public void write(ByteBuffer out) {
    out.putLong(group.number()).putInt(group.generation()).putInt(from).putInt(to);
    out.putShort((short) stream).putShort((short) streams);
  }

  static Hello read(String carrier, ByteBuffer in) {
    GroupId group = new GroupId(in.getLong(), in.getInt());
    int from = in.getInt();
    int to = in.getInt();
    int stream = Short.toUnsignedInt(in.getShort());
    return new Hello(carrier, group, from, to, stream, Short.toUnsignedInt(in.getShort()));
  }

  /** What the connecting side proves itself by. */
  public byte[] connectorProof(JobToken token, byte[] listeners, byte[] connectors) {
    return token.prove(listeners, purpose("connect", connectors));
  }

  boolean isConnector(JobToken token, byte[] listeners, byte[] connectors, byte[] proof) {
    return token.verify(listeners, purpose("connect", connectors), proof);
  }

  /** What the listening side proves itself by. */
  public byte[] listenerProof(JobToken token, byte[] listeners, byte[] connectors) {
    return token.prove(connectors, purpose("listen", listeners));
  }

  boolean isListener(JobToken token, byte[] listeners, byte[] connectors, byte[] proof) {
    return token.verify(connectors, purpose("listen", listeners), proof);
  }

  private String purpose(String side, byte[] ownChallenge) {
    String who = " from " + from + " to " + to + " stream " + stream + " of " + streams;
    String challenge = " " + HexFormat.of().formatHex(ownChallenge);
    return carrier + " " + side + " " + group + who + challenge;
  }
}
