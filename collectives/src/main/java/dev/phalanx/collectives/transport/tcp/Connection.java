package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.FramedMessage;
import dev.phalanx.collectives.transport.Inbox;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Outstanding;
import dev.phalanx.collectives.transport.PeerLostException;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandler;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * An authenticated connection to one peer. The communication thread sends and takes; the event loop
 * fills the inbox.
 */
final class Connection implements FrameReader.Receiver {
  /** Reading pauses while more than this waits to be taken. */
  private static final long INBOX_BYTES = 16L << 20;

  private final int peer;
  private final Channel channel;
  private final Inbox inbox;
  private final Outstanding outstanding;
  private final AtomicLong waitingBytes = new AtomicLong();
  private final CRC32C checksum = new CRC32C();

  Connection(int peer, Channel channel, Outstanding outstanding) {
    this.peer = peer;
    this.channel = channel;
    this.inbox = new Inbox(peer);
    this.outstanding = outstanding;
  }

  /** Reads frames from now on. */
  void start() {
    channel
        .eventLoop()
        .execute(
            () -> {
              // The handshake's handler hands over what it has read too much when it goes.
              ChannelHandler handshake = channel.pipeline().first();
              channel.pipeline().addLast(new FrameReader(this));
              channel.pipeline().remove(handshake);
              if (channel.isActive()) {
                channel.config().setAutoRead(true);
              } else {
                ended();
              }
            });
  }

  void send(Call call, int piece, ByteBuffer payload) {
    String reason = inbox.endReason();
    if (reason != null) {
      throw new PeerLostException(peer, reason);
    }
    checksum.reset();
    checksum.update(payload.duplicate());
    Frame frame =
        new Frame(Frame.DATA, payload.remaining(), piece, (int) checksum.getValue(), call);
    outstanding.sent(peer);
    write(frame, Unpooled.wrappedBuffer(payload))
        .addListener(
            written -> {
              if (written.isSuccess()) {
                outstanding.done(peer);
              } else {
                end("has a broken connection: " + written.cause().getMessage());
              }
            });
  }

  private ChannelFuture write(Frame frame, ByteBuf payload) {
    ByteBuf header = channel.alloc().directBuffer(Frame.HEADER_BYTES);
    frame.write(header.internalNioBuffer(0, Frame.HEADER_BYTES));
    header.writerIndex(Frame.HEADER_BYTES);
    return channel.writeAndFlush(
        Unpooled.wrappedUnmodifiableBuffer(header, payload)); // one write: frames never mix
  }

  Message receive(Deadline deadline) throws InterruptedException {
    return inbox.take(deadline);
  }

  @Nullable String endReason() {
    return inbox.endReason();
  }

  @Override
  public void received(Frame frame, ByteBuf payload) {
    switch (frame.kind()) {
      case Frame.DATA -> {
        if (waitingBytes.addAndGet(frame.payloadBytes()) > INBOX_BYTES) {
          channel.config().setAutoRead(false);
        }
        inbox.put(new Received(frame, payload));
      }
      case Frame.ABORT -> {
        String reason = payload.toString(StandardCharsets.UTF_8);
        payload.release();
        end("cannot go on: " + reason);
      }
      default -> {
        payload.release();
        end("has left the group");
      }
    }
  }

  @Override
  public void failed(String reason) {
    end(reason);
  }

  @Override
  public void ended() {
    end(
        "is gone: its connection closed without a farewell, so its process has ended or was"
            + " killed");
  }

  private void end(String reason) {
    inbox.end(reason);
    outstanding.wake();
  }

  void abort(String reason) {
    byte[] text = reason.getBytes(StandardCharsets.UTF_8);
    int length = Math.min(text.length, 8192);
    CRC32C own = new CRC32C(); // any thread
    own.update(text, 0, length);
    write(
        Frame.control(Frame.ABORT, length, (int) own.getValue()),
        Unpooled.wrappedBuffer(text, 0, length));
  }

  /** Says farewell after all that was sent; the future is done when the connection is closed. */
  ChannelFuture leave() {
    write(Frame.control(Frame.FAREWELL, 0, 0), Unpooled.EMPTY_BUFFER)
        .addListener(ChannelFutureListener.CLOSE);
    return channel.closeFuture();
  }

  void discard() {
    inbox.discard();
  }

  private final class Received extends FramedMessage {
    private final ByteBuf content;

    Received(Frame frame, ByteBuf content) {
      super(frame);
      this.content = content;
    }

    @Override
    public ByteBuffer payload() {
      return content.nioBuffer();
    }

    @Override
    public void close() {
      content.release();
      long left = waitingBytes.addAndGet(-payloadBytes());
      if (left < INBOX_BYTES / 2 && !channel.config().isAutoRead()) {
        channel.config().setAutoRead(true);
      }
    }
  }
}
