package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.PeerLostException;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** The connecting side of {@link Hello}. */
final class ConnectorHandshake extends ByteToMessageDecoder {
  private enum State {
    GREETING,
    ANSWER,
    DONE
  }

  private final JobToken token;
  private final Hello hello;
  private final CompletableFuture<PeerSocket> connected;
  private final byte[] challenge = Hello.newChallenge();
  private State state = State.GREETING;

  /**
   * @param connected gets the connection, or the reason why there is none; nothing where the other
   *     side opens one itself
   */
  ConnectorHandshake(JobToken token, Hello hello, CompletableFuture<PeerSocket> connected) {
    this.token = token;
    this.hello = hello;
    this.connected = connected;
  }

  @Override
  protected void decode(ChannelHandlerContext context, ByteBuf in, List<Object> out) {
    switch (state) {
      case GREETING -> {
        if (in.readableBytes() >= Hello.GREETING_BYTES) {
          state = State.ANSWER;
          answer(context, in);
        }
      }
      case ANSWER -> {
        int readable = in.readableBytes();
        if (readable >= Hello.ANSWER_BYTES
            && readable
                >= Hello.ANSWER_BYTES
                    + in.getUnsignedShort(in.readerIndex() + Hello.ANSWER_BYTES - 2)) {
          state = State.DONE;
          verify(context, in);
        }
      }
      case DONE -> {
        // The rest is the link's.
      }
    }
  }

  private void answer(ChannelHandlerContext context, ByteBuf in) {
    try {
      Hello.readMagic(in);
    } catch (IllegalArgumentException e) {
      fail(context, String.valueOf(e.getMessage()));
      return;
    }
    byte[] theirChallenge = new byte[Hello.CHALLENGE_BYTES];
    in.readBytes(theirChallenge);
    ByteBuf message = context.alloc().buffer(Hello.HELLO_BYTES);
    Hello.writeMagic(message);
    hello.write(message);
    message.writeBytes(challenge).writeBytes(hello.connectorProof(token, theirChallenge));
    context.writeAndFlush(message);
  }

  private void verify(ChannelHandlerContext context, ByteBuf in) {
    byte[] proof = new byte[Hello.PROOF_BYTES];
    in.readBytes(proof);
    if (!hello.isListener(token, challenge, proof)) {
      fail(context, "does not hold this job's token");
      return;
    }
    context.channel().config().setAutoRead(false); // what comes next is the link's
    int kind = in.readUnsignedByte();
    String reason = in.readCharSequence(in.readUnsignedShort(), StandardCharsets.UTF_8).toString();
    if (kind == Meeting.Answer.Kind.WELCOME.ordinal()) {
      ByteBuffer surplus = ByteBuffer.allocate(in.readableBytes());
      in.readBytes(surplus);
      RawSocketChannel.release(context.channel(), surplus.flip(), connected);
    } else if (kind == Meeting.Answer.Kind.OVER.ordinal()) {
      connected.completeExceptionally(new PeerLostException(hello.to(), reason));
      context.close();
    } else {
      context.close();
    }
  }

  private void fail(ChannelHandlerContext context, String reason) {
    connected.completeExceptionally(
        new CollectiveException(
            "rank "
                + hello.from()
                + " connecting to rank "
                + hello.to()
                + " at "
                + context.channel().remoteAddress()
                + ": the other end "
                + reason
                + ". Start all ranks from one job and one version of Phalanx."));
    context.close();
  }

  @Override
  public void channelInactive(ChannelHandlerContext context) {
    if (state != State.DONE) {
      fail(context, "closed the connection before it was open, so it is of another job or is gone");
    }
    context.fireChannelInactive();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    fail(context, "has a broken connection: " + cause.getMessage());
  }
}
