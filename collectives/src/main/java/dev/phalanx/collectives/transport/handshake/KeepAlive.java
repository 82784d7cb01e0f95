package dev.phalanx.collectives.transport.handshake;

import io.netty.channel.Channel;
import io.netty.channel.ChannelOption;
import io.netty.channel.socket.nio.NioChannelOption;
import jdk.net.ExtendedSocketOptions;

/**
 * A connection that dies alone, while the rendezvous still hears of both ranks, is found within
 * seconds where nothing is on its way, and firewalls do not forget it for its silence.
 */
public final class KeepAlive {
  /** How long a connection is silent until the kernel asks whether the peer is there. */
  private static final int SILENT_SECONDS = 5;

  /** So many questions in as many seconds without an answer mean that it is not. */
  private static final int QUESTIONS = 3;

  private KeepAlive() {}

  /** Of systems that have no such options the defaults hold. */
  public static void on(Channel channel) {
    channel.config().setOption(ChannelOption.SO_KEEPALIVE, true);
    channel
        .config()
        .setOption(NioChannelOption.of(ExtendedSocketOptions.TCP_KEEPIDLE), SILENT_SECONDS);
    channel.config().setOption(NioChannelOption.of(ExtendedSocketOptions.TCP_KEEPINTERVAL), 1);
    channel.config().setOption(NioChannelOption.of(ExtendedSocketOptions.TCP_KEEPCOUNT), QUESTIONS);
  }
}
