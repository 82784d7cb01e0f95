package dev.phalanx.collectives.transport;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;

/**
 * The header before every payload, on sockets and in shared memory; {@code docs/wire-format.md} has
 * its layout. Numbers are big-endian; payloads are in the order of bytes of the sender, which is
 * the receiver's.
 *
 * @param kind DATA, ABORT or FAREWELL
 * @param payloadBytes what follows the header
 * @param checksum CRC-32C of the header, with zeros in its place, and the payload; not looked at in
 *     shared memory
 */
public record Frame(byte kind, int payloadBytes, int piece, int checksum, Call call)
    implements Envelope {
  public static final byte DATA = 1;

  /** The sender cannot go on; the payload says why, in UTF-8. */
  public static final byte ABORT = 2;

  /** The sender has left the group; nothing follows. */
  public static final byte FAREWELL = 3;

  public static final int HEADER_BYTES = 40;

  private static final int CHECKSUM_PLACE = 32;

  /** No sender makes longer payloads; a longer one is damage. */
  public static final int MAXIMUM_PAYLOAD_BYTES = 4 << 20;

  private static final int NONE = 0xff;
  private static final DType[] DTYPES = DType.values();
  private static final Operation[] OPERATIONS = Operation.values();
  private static final ReduceOperation[] REDUCTIONS = ReduceOperation.values();

  /** A frame that belongs to no call. */
  public static Frame control(byte kind, int payloadBytes) {
    return new Frame(kind, payloadBytes, 0, 0, Call.NONE);
  }

  /** Writes {@link #HEADER_BYTES} at the buffer's position. */
  public void write(ByteBuffer out) {
    out.put(kind);
    out.put((byte) call.operation().ordinal());
    out.put((byte) (call.dtype() == null ? NONE : call.dtype().ordinal()));
    out.put((byte) (call.reduction() == null ? NONE : call.reduction().ordinal()));
    out.putInt(payloadBytes);
    out.putLong(call.sequence());
    out.putLong(call.elements());
    out.putInt(call.root());
    out.putInt(piece);
    out.putInt(checksum);
    out.putInt(call.tag());
  }

  /**
   * The header's bytes with the checksum in its place.
   *
   * @param checksum to compute with
   */
  public ByteBuffer sealed(ByteBuffer payload, CRC32C checksum) {
    ByteBuffer header = ByteBuffer.allocate(HEADER_BYTES);
    write(header);
    checksum.reset();
    checksum.update(header.flip());
    checksum.update(payload.duplicate());
    return header.putInt(CHECKSUM_PLACE, (int) checksum.getValue()).rewind();
  }

  /**
   * Begins the checksum of a frame that has come; the payload follows. Overwrites the one in the
   * header.
   *
   * @param header {@link #HEADER_BYTES}, from 0
   */
  public static void beginChecksum(ByteBuffer header, CRC32C checksum) {
    checksum.reset();
    checksum.update(header.putInt(CHECKSUM_PLACE, 0).rewind());
  }

  /**
   * @throws IllegalArgumentException where this is no header
   */
  public static Frame read(ByteBuffer in) {
    byte kind = in.get();
    Operation operation = entry(OPERATIONS, Byte.toUnsignedInt(in.get()), "operation");
    int dtype = Byte.toUnsignedInt(in.get());
    int reduction = Byte.toUnsignedInt(in.get());
    int payloadBytes = in.getInt();
    long sequence = in.getLong();
    long elements = in.getLong();
    int root = in.getInt();
    int piece = in.getInt();
    int checksum = in.getInt();
    int tag = in.getInt();
    if (kind < DATA || kind > FAREWELL) {
      throw new IllegalArgumentException("a frame of unknown kind " + kind);
    }
    if (payloadBytes < 0 || payloadBytes > MAXIMUM_PAYLOAD_BYTES) {
      throw new IllegalArgumentException("a frame of " + payloadBytes + " bytes");
    }
    Call call =
        new Call(
            sequence,
            operation,
            dtype == NONE ? null : entry(DTYPES, dtype, "type"),
            reduction == NONE ? null : entry(REDUCTIONS, reduction, "reduction"),
            root,
            elements,
            tag);
    return new Frame(kind, payloadBytes, piece, checksum, call);
  }

  /**
   * @param found the CRC-32C of what has come
   * @throws IllegalArgumentException where that is damaged
   */
  public void requireIntact(int found) {
    if (found != checksum) {
      throw new IllegalArgumentException(
          "a damaged frame "
              + subject()
              + ": its CRC-32C is "
              + Integer.toHexString(found)
              + " instead of "
              + Integer.toHexString(checksum));
    }
  }

  /** What a reader of the message may ask about; a control frame's call is none that was made. */
  private String subject() {
    return switch (kind) {
      case ABORT -> "that says it cannot go on";
      case FAREWELL -> "that says it has left";
      default -> "of " + call.title();
    };
  }

  private static <T> T entry(T[] entries, int index, String what) {
    if (index >= entries.length) {
      throw new IllegalArgumentException("a frame with unknown " + what + " " + index);
    }
    return entries[index];
  }
}
