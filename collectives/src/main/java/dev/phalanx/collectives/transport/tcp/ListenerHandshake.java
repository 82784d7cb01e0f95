package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * The listening side of {@link Hello}. Whoever speaks otherwise, does not prove the token or takes
 * too long is cut off without an answer.
 */
final class ListenerHandshake extends ByteToMessageDecoder {
  /** A rank answers at once; whoever keeps silent for so long is none. */
  static final Duration PATIENCE = Duration.ofSeconds(10);

  private static final int LONGEST_REASON_BYTES = 8192;

  private final JobToken token;
  private final Function<Hello, Meeting> meetings;
  private final byte[] challenge = Hello.newChallenge();
  private final Refusals refusals;
  private boolean isGreeted;
  private boolean isDone;

  /**
   * @param meetings where the connections of two ranks meet
   */
  ListenerHandshake(JobToken token, Function<Hello, Meeting> meetings, Refusals refusals) {
    this.token = token;
    this.meetings = meetings;
    this.refusals = refusals;
  }

  @Override
  public void channelActive(ChannelHandlerContext context) {
    ByteBuf greeting = context.alloc().buffer(Hello.GREETING_BYTES);
    Hello.writeMagic(greeting);
    greeting.writeBytes(challenge);
    context.writeAndFlush(greeting);
    Future<?> patience =
        context
            .executor()
            .schedule(
                () -> refuse(context, "has not told who it is within " + Deadline.text(PATIENCE)),
                PATIENCE.toMillis(),
                TimeUnit.MILLISECONDS);
    context.channel().closeFuture().addListener(closed -> patience.cancel(false));
  }

  @Override
  protected void decode(ChannelHandlerContext context, ByteBuf in, List<Object> out) {
    if (!isDone && !isGreeted && in.readableBytes() >= Hello.MAGIC_BYTES) {
      isGreeted = true;
      try {
        Hello.readMagic(in);
      } catch (IllegalArgumentException e) {
        refuse(context, String.valueOf(e.getMessage()));
      }
    }
    if (isDone || !isGreeted || in.readableBytes() < Hello.HELLO_BYTES - Hello.MAGIC_BYTES) {
      return;
    }
    byte[] theirChallenge = new byte[Hello.CHALLENGE_BYTES];
    byte[] proof = new byte[Hello.PROOF_BYTES];
    Hello hello = Hello.read(in);
    in.readBytes(theirChallenge).readBytes(proof);
    if (!hello.isConnector(token, challenge, proof)) {
      refuse(context, "does not hold this job's token");
      return;
    }
    isDone = true;
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

  private void refuse(ChannelHandlerContext context, String reason) {
    if (!isDone) {
      isDone = true;
      refusals.add(context.channel().remoteAddress(), reason);
      context.close();
    }
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    context.close();
  }
}
