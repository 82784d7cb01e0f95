package dev.phalanx.collectives.transport.grpc;

import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;

/** The one call that ranks make on each other: messages are bytes that gRPC does not look into. */
final class FrameMethod {
  static final String SERVICE = "phalanx.collectives.Frames";

  static final MethodDescriptor<InputStream, InputStream> EXCHANGE =
      MethodDescriptor.<InputStream, InputStream>newBuilder()
          .setType(MethodType.BIDI_STREAMING)
          .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, "Exchange"))
          .setRequestMarshaller(Unparsed.MESSAGES)
          .setResponseMarshaller(Unparsed.MESSAGES)
          .build();

  private FrameMethod() {}

  /** A small message. */
  static InputStream message(ByteBuffer content) {
    return new ByteArrayInputStream(
        content.array(), content.arrayOffset() + content.position(), content.remaining());
  }

  /** The content of a small message, which is closed. */
  static ByteBuffer content(InputStream message) {
    try (message) {
      return ByteBuffer.wrap(message.readAllBytes());
    } catch (IOException e) {
      throw new UncheckedIOException("A message in memory is always readable", e);
    }
  }
}
