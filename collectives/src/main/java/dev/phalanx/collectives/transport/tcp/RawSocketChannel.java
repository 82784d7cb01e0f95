package dev.phalanx.collectives.transport.tcp;

import io.netty.channel.Channel;
import io.netty.channel.socket.nio.NioSocketChannel;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.concurrent.CompletableFuture;

/**
 * A channel that Netty opens and greets on, and then lets go of: whoever waits for frames reads
 * them himself, straight to where they belong. A hand-over between threads for each would take
 * longer than the frame does.
 */
final class RawSocketChannel extends NioSocketChannel {
  RawSocketChannel() {}

  RawSocketChannel(Channel parent, SocketChannel socket) {
    super(parent, socket);
  }

  /** Lets the socket go; {@code taker} gets it. On the event loop. */
  static void release(Channel channel, ByteBuffer surplus, CompletableFuture<PeerSocket> taker) {
    SocketChannel socket = ((RawSocketChannel) channel).javaChannel();
    channel
        .deregister()
        .addListener(
            done -> {
              if (!done.isSuccess() || !taker.complete(new PeerSocket(socket, surplus))) {
                channel.close();
              }
            });
  }
}
