package dev.phalanx.collectives.rendezvous;

import com.google.protobuf.Parser;
import dev.phalanx.collectives.rendezvous.wire.FromRank;
import dev.phalanx.collectives.rendezvous.wire.FromServer;
import dev.phalanx.collectives.rendezvous.wire.RendezvousGrpc;
import dev.phalanx.collectives.transport.grpc.Unparsed;
import io.grpc.MethodDescriptor;
import java.io.IOException;
import java.io.InputStream;

/**
 * The rendezvous' one call, of which either side parses by itself what the other one says: no more
 * than a greeting and a proof take until the other one has proven that it holds the job's token.
 */
final class JoinMethod {
  /** Of a message. */
  static final int MOST_BYTES = 1 << 20;

  /** Of one from a rank: where it is in a thousand groups. */
  static final int MOST_OF_RANK_BYTES = 512 << 10;

  /** Many times what a rank says of itself with its proof. */
  static final int MOST_UNPROVEN_BYTES = 16 << 10;

  private static final MethodDescriptor<FromRank, FromServer> PARSED =
      RendezvousGrpc.getJoinMethod();

  static final MethodDescriptor<FromRank, InputStream> OF_RANK =
      PARSED.toBuilder(PARSED.getRequestMarshaller(), Unparsed.MESSAGES).build();

  static final MethodDescriptor<InputStream, FromServer> OF_SERVER =
      PARSED.toBuilder(Unparsed.MESSAGES, PARSED.getResponseMarshaller()).build();

  private JoinMethod() {}

  /**
   * What a message says, which is closed.
   *
   * @throws IOException where it is too long or none of the protocol; the message is a clause about
   *     the other side
   */
  static <M> M read(InputStream message, Parser<M> parser, boolean isProven) throws IOException {
    int most = isProven ? MOST_BYTES : MOST_UNPROVEN_BYTES;
    byte[] content;
    try (message) {
      content = message.readNBytes(most + 1);
    }
    if (content.length > most) {
      throw new IOException(
          "has sent more than "
              + most
              + " bytes in one message"
              + (isProven ? "" : ", before it has proven that it holds this job's token"));
    }
    try {
      return parser.parseFrom(content);
    } catch (IOException e) {
      throw new IOException("has sent a message that is not of this protocol", e);
    }
  }
}
