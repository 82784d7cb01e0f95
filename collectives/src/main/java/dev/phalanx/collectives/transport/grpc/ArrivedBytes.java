package dev.phalanx.collectives.transport.grpc;

import io.grpc.ClientStreamTracer;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.ServerStreamTracer;
import java.util.Objects;

/**
 * How much has come on a stream, parts of messages too: as long as it grows, the stream carries.
 */
final class ArrivedBytes {
  private static final Context.Key<ArrivedBytes> OF_CALL = Context.key("phalanx-arrived-bytes");

  private volatile long bytes; // changed by the event loop

  long count() {
    return bytes;
  }

  /** Counts for each call that a server accepts. */
  static ServerStreamTracer.Factory ofAcceptedCalls() {
    return new ServerStreamTracer.Factory() {
      @Override
      public ServerStreamTracer newServerStreamTracer(String method, Metadata headers) {
        ArrivedBytes arrived = new ArrivedBytes();
        return new ServerStreamTracer() {
          @Override
          public Context filterContext(Context context) {
            return context.withValue(OF_CALL, arrived);
          }

          @Override
          public void inboundWireSize(long more) {
            arrived.bytes += more;
          }
        };
      }
    };
  }

  /** Of the call that is being accepted. */
  static ArrivedBytes ofThisCall() {
    return Objects.requireNonNull(OF_CALL.get(), "The server counts what comes");
  }

  /** Counts for the call that this is given to. */
  ClientStreamTracer.Factory ofOwnCall() {
    return new ClientStreamTracer.Factory() {
      @Override
      public ClientStreamTracer newClientStreamTracer(
          ClientStreamTracer.StreamInfo info, Metadata headers) {
        return new ClientStreamTracer() {
          @Override
          public void inboundWireSize(long more) {
            bytes += more;
          }
        };
      }
    };
  }
}
