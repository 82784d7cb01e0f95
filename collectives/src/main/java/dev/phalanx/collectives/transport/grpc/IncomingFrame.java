package dev.phalanx.collectives.transport.grpc;

import dev.phalanx.collectives.transport.Frame;
import io.grpc.HasByteBuffer;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;

/**
 * A frame whose payload is still where Netty has read it to, until the thread that waits for it has
 * named its place. Whoever takes the payload, or does not want it, closes it.
 */
final class IncomingFrame implements AutoCloseable {
  /** A message weighs at least this much, for its objects and what its buffer has to spare. */
  private static final int LEAST_WEIGHT_BYTES = 1024;

  private final ByteBuffer header;
  private final Frame frame;
  private final InputStream content;

  private IncomingFrame(ByteBuffer header, Frame frame, InputStream content) {
    this.header = header;
    this.frame = frame;
    this.content = content;
  }

  /**
   * Reads the header.
   *
   * @param message belongs to what is returned, or is closed
   * @throws IllegalArgumentException where the message is no frame; the text goes on after "has
   *     sent"
   */
  static IncomingFrame of(InputStream message) throws IOException {
    boolean isFrame = false;
    try {
      byte[] header = new byte[Frame.HEADER_BYTES];
      if (message.readNBytes(header, 0, header.length) < header.length) {
        throw new IllegalArgumentException("a message that is shorter than a frame's header");
      }
      ByteBuffer bytes = ByteBuffer.wrap(header);
      Frame frame = Frame.read(bytes);
      if (frame.payloadBytes() != message.available()) {
        throw new IllegalArgumentException(
            "a frame of "
                + frame.payloadBytes()
                + " bytes in a message that has "
                + message.available());
      }
      isFrame = true;
      return new IncomingFrame(bytes, frame, message);
    } finally {
      if (!isFrame) {
        message.close();
      }
    }
  }

  Frame frame() {
    return frame;
  }

  /** What it counts for among messages that nobody has read. */
  int weight() {
    return Math.max(LEAST_WEIGHT_BYTES, frame.payloadBytes());
  }

  /**
   * Moves the payload to its place, and looks at its checksum while it is in the core's cache.
   *
   * @param target as long as the payload; its position moves to its limit
   * @throws IllegalArgumentException where the frame is damaged
   */
  void read(ByteBuffer target, CRC32C checksum) throws IOException {
    Frame.beginChecksum(header, checksum);
    while (target.hasRemaining()) {
      int start = target.position();
      readSome(target);
      checksum.update(target.duplicate().flip().position(start));
    }
    frame.requireIntact((int) checksum.getValue());
  }

  private void readSome(ByteBuffer target) throws IOException {
    ByteBuffer next =
        content instanceof HasByteBuffer buffers && buffers.byteBufferSupported()
            ? buffers.getByteBuffer()
            : null;
    int count = Math.min(target.remaining(), next == null ? 0 : next.remaining());
    if (next != null && count > 0) {
      target.put(next.limit(next.position() + count));
      content.skipNBytes(count);
    } else {
      int one = content.read();
      if (one < 0) {
        throw new EOFException("a frame is shorter than its header says");
      }
      target.put((byte) one);
    }
  }

  /** Gives the memory back. */
  @Override
  public void close() throws IOException {
    content.close();
  }
}
