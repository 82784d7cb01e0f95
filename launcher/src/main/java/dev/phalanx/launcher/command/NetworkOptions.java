package dev.phalanx.launcher.command;

import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.trainer.config.JobConfig;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How ranks meet and what protects what they say. */
final class NetworkOptions {
  private static final int LARGEST_PORT = 65535;

  @Option(
      names = "--port",
      paramLabel = "PORT",
      description =
          "port where the ranks meet, on the loopback address (default: MASTER_PORT, else a free"
              + " one)")
  private @Nullable String port;

  @Option(
      names = "--tls",
      paramLabel = "MODE",
      defaultValue = "none",
      description =
          "auto: what ranks say over a network goes over gRPC with TLS, by certificates that each"
              + " makes for the job; none (default: ${DEFAULT-VALUE})")
  private String tls = "none";

  boolean hasPort() {
    return port != null;
  }

  /** The port where ranks of this host meet; 0: any free one. */
  int port() {
    String text =
        Optional.ofNullable(port).or(() -> ExternalOptions.variable("MASTER_PORT")).orElse("0");
    try {
      int number = Integer.parseInt(text.trim());
      if (number >= 0 && number <= LARGEST_PORT) {
        return number;
      }
    } catch (NumberFormatException e) {
      // told below
    }
    throw CommandException.usage(
        "the port is '" + text + "'; write a number from 1 to " + LARGEST_PORT);
  }

  Encryption encryption() {
    return switch (tls) {
      case "none" -> Encryption.NONE;
      case "auto" -> Encryption.TLS;
      default -> throw CommandException.usage("--tls is '" + tls + "'; write auto or none");
    };
  }

  /** Refuses a transport that cannot do what the options ask of it. */
  void requireEncryptionOf(JobConfig.Transport transport) {
    if (encryption() == Encryption.TLS && transport == JobConfig.Transport.TCP) {
      throw CommandException.usage(
          "--tls auto does not go with the transport tcp, which encrypts nothing; take grpc, or"
              + " auto, which takes it between hosts");
    }
  }

  /**
   * Refuses several streams where nothing goes over TCP.
   *
   * @param option by which they were asked for
   */
  void requireStreams(String option, int streams, JobConfig.Transport transport) {
    boolean mayUseTcp =
        transport == JobConfig.Transport.TCP || transport == JobConfig.Transport.AUTO;
    if (streams > 1 && (!mayUseTcp || encryption() == Encryption.TLS)) {
      throw CommandException.usage(
          option
              + " is "
              + streams
              + ", but only TCP has several streams, and "
              + (mayUseTcp ? "--tls auto takes gRPC" : "the transport is " + transport.label())
              + "; write 1, or take the transport tcp or auto without TLS");
    }
  }
}
