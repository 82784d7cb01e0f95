package dev.phalanx.collectives.transport.grpc;

import static java.util.concurrent.TimeUnit.SECONDS;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import dev.phalanx.collectives.transport.handshake.Meeting;
import dev.phalanx.collectives.transport.handshake.Meetings;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;

/** A listener that speaks the protocol up to the frames, which a test writes by hand. */
final class FakePeer implements AutoCloseable {
  private final Server server;
  private final JobToken token;
  private final CompletableFuture<ServerCall<InputStream, InputStream>> open =
      new CompletableFuture<>();

  FakePeer(JobToken token) throws Exception {
    this.token = token;
    this.server =
        NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
            .directExecutor()
            .addService(
                ServerServiceDefinition.builder(FrameMethod.SERVICE)
                    .addMethod(FrameMethod.EXCHANGE, this::accept)
                    .build())
            .build()
            .start();
  }

  InetSocketAddress address() {
    return new InetSocketAddress(InetAddress.getLoopbackAddress(), server.getPort());
  }

  private ServerCall.Listener<InputStream> accept(
      ServerCall<InputStream, InputStream> call, Metadata headers) {
    ListeningSide side = new ListeningSide(token, GrpcEndpoint.CARRIER);
    call.sendHeaders(new Metadata());
    call.sendMessage(FrameMethod.message(side.greeting()));
    call.request(Integer.MAX_VALUE);
    return new ServerCall.Listener<>() {
      @Override
      public void onMessage(InputStream message) {
        if (open.isDone()) {
          return; // what the rank says is not looked at
        }
        Hello hello = side.hello(FrameMethod.content(message));
        Meeting.Answer welcome = new Meetings<InputStream>(1).arrive(hello).answer();
        call.sendMessage(FrameMethod.message(side.answer(hello, welcome)));
        open.complete(call);
      }

      @Override
      public void onHalfClose() {
        call.close(Status.OK, new Metadata());
      }
    };
  }

  /** Sends bytes as one message, as soon as the stream is open. */
  void send(ByteBuffer message) throws Exception {
    open.get(30, SECONDS).sendMessage(FrameMethod.message(message));
  }

  /**
   * A data frame of a sum of one float.
   *
   * @param payloadBytes what its header says
   * @param contentBytes zeros that follow
   */
  static ByteBuffer frame(int payloadBytes, int contentBytes, int checksum) {
    ByteBuffer frame = ByteBuffer.allocate(Frame.HEADER_BYTES + contentBytes);
    frame.put(new byte[] {Frame.DATA, 0, 0, 0}).putInt(payloadBytes);
    frame.putLong(0).putLong(1).putInt(-1).putInt(0).putInt(checksum);
    return frame.rewind();
  }

  /** Ends as a process that is killed does. */
  void die() throws Exception {
    open.get(30, SECONDS);
    server.shutdownNow();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
