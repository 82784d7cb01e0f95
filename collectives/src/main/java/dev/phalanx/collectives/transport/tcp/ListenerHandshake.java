package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.rendezvous.JobToken;
import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.util.List;
import java.util.function.BiConsumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The listening side of {@link Hello}. Whoever does not prove the token is cut off without an
 * answer.
 */
final class ListenerHandshake extends ByteToMessageDecoder {
  private static final Logger LOGGER = LoggerFactory.getLogger(ListenerHandshake.class);

  private final JobToken token;
  private final BiConsumer<Hello, Channel> accepted;
  private final byte[] challenge = Hello.newChallenge();
  private boolean isDone;

  /**
   * @param accepted called once, on the event loop, with reading switched off
   */
  ListenerHandshake(JobToken token, BiConsumer<Hello, Channel> accepted) {
    this.token = token;
    this.accepted = accepted;
  }

  @Override
  public void channelActive(ChannelHandlerContext context) {
    ByteBuf greeting = context.alloc().buffer(Hello.GREETING_BYTES);
    Hello.writeMagic(greeting);
    greeting.writeBytes(challenge);
    context.writeAndFlush(greeting);
  }

  @Override
  protected void decode(ChannelHandlerContext context, ByteBuf in, List<Object> out) {
    if (isDone || in.readableBytes() < Hello.HELLO_BYTES) {
      return;
    }
    isDone = true;
    byte[] theirChallenge = new byte[Hello.CHALLENGE_BYTES];
    byte[] proof = new byte[Hello.PROOF_BYTES];
    try {
      Hello.readMagic(in);
    } catch (IllegalArgumentException e) {
      refuse(context, String.valueOf(e.getMessage()));
      return;
    }
    Hello hello = Hello.read(in);
    in.readBytes(theirChallenge).readBytes(proof);
    if (!hello.isConnector(token, challenge, proof)) {
      refuse(context, "does not hold this job's token");
      return;
    }
    context.channel().config().setAutoRead(false);
    context.writeAndFlush(
        context.alloc().buffer().writeBytes(hello.listenerProof(token, theirChallenge)));
    accepted.accept(hello, context.channel());
  }

  private static void refuse(ChannelHandlerContext context, String reason) {
    LOGGER.warn("Refused a connection: {} {}", context.channel().remoteAddress(), reason);
    context.close();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    context.close();
  }
}
