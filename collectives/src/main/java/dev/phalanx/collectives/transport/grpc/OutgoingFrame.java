package dev.phalanx.collectives.transport.grpc;

import dev.phalanx.collectives.transport.Frame;
import io.grpc.Drainable;
import io.grpc.KnownLength;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;

/**
 * A header and a payload that gRPC drains into its own buffers: the one copy on the way out. It
 * takes arrays only, so native memory passes through a small array that stays in the core's cache.
 */
final class OutgoingFrame extends InputStream implements Drainable, KnownLength {
  /** Of the array that native memory passes through. */
  static final int SCRATCH_BYTES = 16 * 1024;

  private final ByteBuffer header;
  private final ByteBuffer payload;
  private final byte[] scratch;

  /**
   * @param header {@link Frame#sealed}
   * @param payload its position moves on as it is read
   * @param scratch used only while gRPC drains this, so frames that are sent one after the other
   *     may share it
   */
  OutgoingFrame(ByteBuffer header, ByteBuffer payload, byte[] scratch) {
    this.header = header;
    this.payload = payload;
    this.scratch = scratch;
  }

  @Override
  public int available() {
    return header.remaining() + payload.remaining();
  }

  @Override
  public int drainTo(OutputStream target) throws IOException {
    int drained = available();
    drain(header, target);
    drain(payload, target);
    return drained;
  }

  private void drain(ByteBuffer from, OutputStream target) throws IOException {
    if (from.hasArray()) {
      target.write(from.array(), from.arrayOffset() + from.position(), from.remaining());
      from.position(from.limit());
      return;
    }
    while (from.hasRemaining()) {
      int count = Math.min(scratch.length, from.remaining());
      from.get(scratch, 0, count);
      target.write(scratch, 0, count);
    }
  }

  /** For readers that do not know {@link Drainable}. */
  @Override
  public int read() {
    ByteBuffer next = header.hasRemaining() ? header : payload;
    return next.hasRemaining() ? Byte.toUnsignedInt(next.get()) : -1;
  }
}
