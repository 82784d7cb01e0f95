package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.tensor.DType;
import io.netty.buffer.ByteBuf;

/**
 * The header before every payload; {@code docs/wire-format.md} has its layout. Numbers are
 * big-endian; payloads are in the order of bytes of the sender, which is the receiver's (see {@link
 * Hello}).
 *
 * @param kind DATA, ABORT or FAREWELL
 * @param payloadBytes what follows the header
 * @param checksum CRC-32C of the payload
 */
record Frame(byte kind, int payloadBytes, int piece, int checksum, Call call) {
  static final byte DATA = 1;

  /** The sender cannot go on; the payload says why, in UTF-8. */
  static final byte ABORT = 2;

  /** The sender has left the group; nothing follows. */
  static final byte FAREWELL = 3;

  static final int HEADER_BYTES = 40;

  /** No sender makes longer payloads; a longer one is damage. */
  static final int MAXIMUM_PAYLOAD_BYTES = 4 << 20;

  private static final int NONE = 0xff;
  private static final DType[] DTYPES = DType.values();
  private static final Operation[] OPERATIONS = Operation.values();
  private static final ReduceOperation[] REDUCTIONS = ReduceOperation.values();

  static Frame control(byte kind, int payloadBytes, int checksum) {
    return new Frame(
        kind, payloadBytes, 0, checksum, new Call(0, Operation.BARRIER, null, null, -1, 0));
  }

  void write(ByteBuf out) {
    out.writeByte(kind);
    out.writeByte(call.operation().ordinal());
    out.writeByte(call.dtype() == null ? NONE : call.dtype().ordinal());
    out.writeByte(call.reduction() == null ? NONE : call.reduction().ordinal());
    out.writeInt(payloadBytes);
    out.writeLong(call.sequence());
    out.writeLong(call.elements());
    out.writeInt(call.root());
    out.writeInt(piece);
    out.writeInt(checksum);
    out.writeInt(0); // reserved, keeps payloads aligned
  }

  /**
   * @throws IllegalArgumentException where this is no header
   */
  static Frame read(ByteBuf in) {
    byte kind = in.readByte();
    Operation operation = entry(OPERATIONS, in.readUnsignedByte(), "operation");
    int dtype = in.readUnsignedByte();
    int reduction = in.readUnsignedByte();
    int payloadBytes = in.readInt();
    long sequence = in.readLong();
    long elements = in.readLong();
    int root = in.readInt();
    int piece = in.readInt();
    int checksum = in.readInt();
    in.skipBytes(Integer.BYTES);
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
            elements);
    return new Frame(kind, payloadBytes, piece, checksum, call);
  }

  private static <T> T entry(T[] entries, int index, String what) {
    if (index >= entries.length) {
      throw new IllegalArgumentException("a frame with unknown " + what + " " + index);
    }
    return entries[index];
  }
}
