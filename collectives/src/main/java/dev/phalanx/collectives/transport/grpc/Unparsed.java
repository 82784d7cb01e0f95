package dev.phalanx.collectives.transport.grpc;

import io.grpc.Detachable;
import io.grpc.MethodDescriptor.Marshaller;
import java.io.InputStream;

/** Hands gRPC's messages on as they are; whoever gets one closes it. */
public final class Unparsed implements Marshaller<InputStream> {
  public static final Unparsed MESSAGES = new Unparsed();

  private Unparsed() {}

  @Override
  public InputStream stream(InputStream message) {
    return message;
  }

  @Override
  public InputStream parse(InputStream message) {
    // gRPC closes its own stream when this returns; the bytes live on in the detached one.
    return message instanceof Detachable detachable ? detachable.detach() : message;
  }
}
