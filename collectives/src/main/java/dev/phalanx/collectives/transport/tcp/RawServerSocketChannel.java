package dev.phalanx.collectives.transport.tcp;

import io.netty.channel.socket.nio.NioServerSocketChannel;
import java.io.IOException;
import java.nio.channels.SocketChannel;
import java.util.List;

/** Accepts {@link RawSocketChannel}s. */
final class RawServerSocketChannel extends NioServerSocketChannel {
  @Override
  protected int doReadMessages(List<Object> accepted) throws IOException {
    SocketChannel socket = javaChannel().accept();
    if (socket == null) {
      return 0;
    }
    accepted.add(new RawSocketChannel(this, socket));
    return 1;
  }
}
