package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.rendezvous.JobToken;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The listening side of {@link Hello}. Whoever does not prove the token is cut off without an
 * answer.
 */
final class ListenerHandshake extends ByteToMessageDecoder {
  private static final Logger LOGGER = LoggerFactory.getLogger(ListenerHandshake.class);

  private static final int LONGEST_REASON_BYTES = 8192;
  private static final int PATIENCE_SECONDS = 10;

  private final JobToken token;
  private final Function<Hello, Meeting> meetings;
  private final byte[] challenge = Hello.newChallenge();
  private boolean isDone;

  /**
   * @param meetings where the connections of two ranks meet
   */
  ListenerHandshake(JobToken token, Function<Hello, Meeting> meetings) {
    this.token = token;
    this.meetings = meetings;
  }

  @Override
  public void channelActive(ChannelHandlerContext context) {
    ByteBuf greeting = context.alloc().buffer(Hello.GREETING_BYTES);
    Hello.writeMagic(greeting);
    greeting.writeBytes(challenge);
    context.writeAndFlush(greeting);
    context
        .executor()
        .schedule(
            () -> {
              if (!isDone) {
                isDone = true;
                refuse(context, "has proven nothing within " + PATIENCE_SECONDS + " s");
              }
            },
            PATIENCE_SECONDS,
            TimeUnit.SECONDS);
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
    Meeting meeting = meetings.apply(hello);
    Meeting.Answer answer = meeting.arrive(hello.from() > hello.to());
    context.channel().config().setAutoRead(false);
    byte[] reason = answer.reason().getBytes(StandardCharsets.UTF_8);
    int length = Math.min(reason.length, LONGEST_REASON_BYTES);
    ChannelFuture answered =
        context.writeAndFlush(
            context
                .alloc()
                .buffer()
                .writeBytes(hello.listenerProof(token, theirChallenge))
                .writeByte(answer.kind().ordinal())
                .writeShort(length)
                .writeBytes(reason, 0, length));
    if (answer.kind() == Meeting.Answer.Kind.WELCOME) {
      answered.addListener(
          done ->
              RawSocketChannel.release(context.channel(), ByteBuffer.allocate(0), meeting.met()));
    } else {
      answered.addListener(ChannelFutureListener.CLOSE);
    }
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
