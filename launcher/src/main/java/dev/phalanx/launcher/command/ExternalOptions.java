package dev.phalanx.launcher.command;

import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.local.ExternalPlacement;
import dev.phalanx.launcher.local.Placement;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How a command becomes one rank of a job that something else starts. */
final class ExternalOptions {
  @Option(
      names = "--external",
      description =
          "be one rank of a job whose other ranks are started elsewhere, the one that RANK,"
              + " WORLD_SIZE, MASTER_ADDR and MASTER_PORT name as torchrun's do")
  private boolean isExternal;

  @Option(
      names = "--token-file",
      paramLabel = "FILE",
      description =
          "with --external: the job's token, made by 'phalanx token FILE' (default:"
              + " PHALANX_TOKEN_FILE)")
  private @Nullable Path tokenFile;

  @Option(
      names = "--address",
      paramLabel = "ADDRESS",
      description =
          "with --external: this host's address for connections from other ranks (default:"
              + " PHALANX_ADDRESS, else the address that reaches MASTER_ADDR)")
  private @Nullable String address;

  /** Refuses an option that says where ranks run where {@code --external} says it too. */
  void excludes(String option, boolean isGiven) {
    if (isExternal && isGiven) {
      throw CommandException.usage(
          option
              + " does not go with --external, where the environment tells how many ranks there are"
              + " and where they meet; leave one of the two out");
    }
  }

  /** The placement of the environment's rank; empty where all ranks run here. */
  Optional<Placement> placement(Encryption encryption) throws IOException {
    if (!isExternal) {
      requireExternal("--token-file", tokenFile);
      requireExternal("--address", address);
      return Optional.empty();
    }
    Path file =
        Optional.ofNullable(tokenFile)
            .or(() -> variable("PHALANX_TOKEN_FILE").map(Path::of))
            .orElseThrow(
                () ->
                    CommandException.usage(
                        "--external needs the job's token; name its file with --token-file or"
                            + " PHALANX_TOKEN_FILE, made once for all ranks by 'phalanx token"
                            + " FILE'"));
    return Optional.of(
        ExternalPlacement.of(System.getenv(), file, encryption, Optional.ofNullable(address)));
  }

  private static void requireExternal(String option, @Nullable Object given) {
    if (given != null) {
      throw CommandException.usage(option + " goes with --external alone");
    }
  }

  /** Of the environment; empty where it is not set, or to nothing. */
  static Optional<String> variable(String name) {
    return Optional.ofNullable(System.getenv(name)).filter(value -> !value.isBlank());
  }
}
