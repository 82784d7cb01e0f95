package dev.phalanx.collectives.rendezvous;

import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import java.net.SocketAddress;
import org.jspecify.annotations.Nullable;

/** Tells a service where a call comes from. */
final class Origin implements ServerInterceptor {
  private static final Context.Key<SocketAddress> ADDRESS = Context.key("address");

  /** On the thread that begins the call. */
  static @Nullable SocketAddress ofThisCall() {
    return ADDRESS.get();
  }

  @Override
  public <Q, A> ServerCall.Listener<Q> interceptCall(
      ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
    SocketAddress from = call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR);
    Context known = Context.current().withValue(ADDRESS, from);
    return Contexts.interceptCall(known, call, headers, next);
  }
}
