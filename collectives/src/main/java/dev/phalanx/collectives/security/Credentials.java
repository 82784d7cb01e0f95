package dev.phalanx.collectives.security;

import io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.NettyServerBuilder;
import java.util.Optional;

/**
 * What a process has as a member of a job: the token, and where the job's connections are encrypted
 * a certificate of the job's authority. All of a job's processes have the same kind, or do not
 * understand each other.
 */
public final class Credentials {
  private final JobToken token;
  private final Optional<JobCertificate> certificate;

  private Credentials(JobToken token, Optional<JobCertificate> certificate) {
    this.token = token;
    this.certificate = certificate;
  }

  /**
   * @param encryption with TLS a new certificate of the job's authority is issued. The authority
   *     follows from the token, so whoever has that needs nothing else.
   */
  public static Credentials of(JobToken token, Encryption encryption) {
    return switch (encryption) {
      case NONE -> new Credentials(token, Optional.empty());
      case TLS -> new Credentials(token, Optional.of(JobCertificate.issue(token)));
    };
  }

  public JobToken token() {
    return token;
  }

  public Encryption encryption() {
    return certificate.isPresent() ? Encryption.TLS : Encryption.NONE;
  }

  /** Of a server: who connects must be a member. */
  public NettyServerBuilder protect(NettyServerBuilder server) {
    return certificate.map(own -> server.sslContext(own.forServers())).orElse(server);
  }

  /** Of a connection to a server, which must be a member's. */
  public NettyChannelBuilder protect(NettyChannelBuilder channel) {
    return certificate
        .map(
            own -> channel.sslContext(own.forClients()).overrideAuthority(JobCertificate.HOST_NAME))
        .orElseGet(channel::usePlaintext);
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return "Credentials[" + encryption() + "]";
  }
}
