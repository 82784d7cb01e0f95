package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.GroupId;
import io.netty.buffer.ByteBuf;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.Arrays;

/**
 * The messages that open a connection. Each side proves that it holds the job's token by an HMAC
 * over the other's challenge; nothing else is read from a peer before that.
 *
 * <pre>
 *   listening rank                      connecting rank
 *        | -- magic, challenge ----------------> |
 *        | <- magic, who, challenge, proof ----- |
 *        | -- proof, answer -------------------> |
 * </pre>
 *
 * @param from the connecting rank
 * @param to the listening rank
 */
record Hello(GroupId group, int from, int to) {
  static final int CHALLENGE_BYTES = 32;
  static final int PROOF_BYTES = 32;
  private static final byte[] MAGIC = "PHLX".getBytes(StandardCharsets.US_ASCII);
  private static final int VERSION = 1;
  static final int MAGIC_BYTES = 8;

  /** A proof, the kind of the answer and the length of the reason that follows. */
  static final int ANSWER_BYTES = PROOF_BYTES + 1 + 2;

  static final int GREETING_BYTES = MAGIC_BYTES + CHALLENGE_BYTES;
  static final int HELLO_BYTES = MAGIC_BYTES + 20 + CHALLENGE_BYTES + PROOF_BYTES;

  static byte[] newChallenge() {
    byte[] challenge = new byte[CHALLENGE_BYTES];
    new SecureRandom().nextBytes(challenge);
    return challenge;
  }

  /** Magic, version and the sender's order of bytes. */
  static void writeMagic(ByteBuf out) {
    out.writeBytes(MAGIC).writeShort(VERSION);
    out.writeByte(ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN ? 'L' : 'B').writeByte(0);
  }

  /**
   * @throws IllegalArgumentException where the peer speaks otherwise; the message says how
   */
  static void readMagic(ByteBuf in) {
    byte[] magic = new byte[MAGIC.length];
    in.readBytes(magic);
    int version = in.readUnsignedShort();
    byte order = in.readByte();
    in.skipBytes(1);
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

  void write(ByteBuf out) {
    out.writeLong(group.number()).writeInt(group.generation()).writeInt(from).writeInt(to);
  }

  static Hello read(ByteBuf in) {
    return new Hello(new GroupId(in.readLong(), in.readInt()), in.readInt(), in.readInt());
  }

  byte[] connectorProof(JobToken token, byte[] challenge) {
    return token.prove(challenge, "tcp connect " + this);
  }

  boolean isConnector(JobToken token, byte[] challenge, byte[] proof) {
    return token.verify(challenge, "tcp connect " + this, proof);
  }

  byte[] listenerProof(JobToken token, byte[] challenge) {
    return token.prove(challenge, "tcp listen " + this);
  }

  boolean isListener(JobToken token, byte[] challenge, byte[] proof) {
    return token.verify(challenge, "tcp listen " + this, proof);
  }

  @Override
  public String toString() {
    return group + " from " + from + " to " + to;
  }
}
