package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.transport.Frame;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * Cuts the stream of bytes into frames. A payload is copied once, from the socket's buffer into one
 * of its own size. Event loop.
 */
final class FrameReader extends ChannelInboundHandlerAdapter {
  /** Hears of frames; the event loop calls it. */
  interface Receiver {
    /** Owns the payload from now on. */
    void received(Frame frame, ByteBuf payload);

    /** The bytes make no sense, or the connection has failed. */
    void failed(String reason);

    /** The connection has ended. */
    void ended();
  }

  private final Receiver receiver;
  private @Nullable ByteBuf header;
  private @Nullable ByteBuf payload;
  private @Nullable Frame frame;
  private boolean isBroken;

  FrameReader(Receiver receiver) {
    this.receiver = receiver;
  }

  @Override
  public void handlerAdded(ChannelHandlerContext context) {
    header = context.alloc().buffer(Frame.HEADER_BYTES, Frame.HEADER_BYTES);
  }

  @Override
  public void handlerRemoved(ChannelHandlerContext context) {
    if (header != null) {
      header.release();
      header = null;
    }
    if (payload != null) {
      payload.release();
      payload = null;
    }
  }

  @Override
  public void channelRead(ChannelHandlerContext context, Object message) {
    ByteBuf in = (ByteBuf) message;
    try {
      while (!isBroken && readSome(context, in)) {
        // on with the next header or payload
      }
    } catch (IllegalArgumentException e) {
      isBroken = true;
      receiver.failed("has sent " + e.getMessage());
      context.close();
    } finally {
      in.release();
    }
  }

  /** Whether anything was done: an empty payload is complete without a byte. */
  private boolean readSome(ChannelHandlerContext context, ByteBuf in) {
    Frame current = frame;
    if (current == null) {
      return in.isReadable() && readHeader(context, in);
    }
    ByteBuf target = payload;
    if (target == null) {
      return false;
    }
    target.writeBytes(in, Math.min(in.readableBytes(), target.writableBytes()));
    if (target.isWritable()) {
      return false;
    }
    frame = null;
    payload = null;
    deliver(current, target);
    return true;
  }

  private boolean readHeader(ChannelHandlerContext context, ByteBuf in) {
    ByteBuf target = header;
    if (target == null) {
      return false;
    }
    target.writeBytes(in, Math.min(in.readableBytes(), target.writableBytes()));
    if (!target.isWritable()) {
      Frame read = Frame.read(target.nioBuffer());
      target.clear();
      frame = read;
      payload = context.alloc().directBuffer(read.payloadBytes(), read.payloadBytes());
    }
    return true;
  }

  private void deliver(Frame complete, ByteBuf content) {
    CRC32C checksum = new CRC32C();
    checksum.update(content.nioBuffer());
    if ((int) checksum.getValue() != complete.checksum()) {
      content.release();
      throw new IllegalArgumentException(
          "a damaged frame of "
              + complete.call().title()
              + ": its CRC-32C is "
              + Integer.toHexString((int) checksum.getValue())
              + " instead of "
              + Integer.toHexString(complete.checksum()));
    }
    receiver.received(complete, content);
  }

  @Override
  public void channelInactive(ChannelHandlerContext context) {
    receiver.ended();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    receiver.failed("has a broken connection: " + cause.getMessage());
    context.close();
  }
}
