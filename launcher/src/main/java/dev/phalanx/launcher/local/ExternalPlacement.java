package dev.phalanx.launcher.local;

import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The placement of one rank of a job whose other ranks are started elsewhere. The environment tells
 * which rank, in the names of torchrun: {@code RANK}, {@code WORLD_SIZE}, {@code MASTER_ADDR},
 * {@code MASTER_PORT} and, where a host has several ranks, {@code LOCAL_RANK} and {@code
 * LOCAL_WORLD_SIZE}. The rendezvous is where rank 0 is.
 */
public final class ExternalPlacement {
  private static final String WORLD_SIZE = "WORLD_SIZE";
  private static final String RANK = "RANK";
  private static final String LOCAL_WORLD_SIZE = "LOCAL_WORLD_SIZE";
  private static final String LOCAL_RANK = "LOCAL_RANK";
  private static final String MASTER_ADDR = "MASTER_ADDR";
  private static final String MASTER_PORT = "MASTER_PORT";
  private static final String ADDRESS = "PHALANX_ADDRESS";

  /** The first of these that is set tells how often the job was started before. */
  private static final List<String> ATTEMPTS =
      List.of("PHALANX_ATTEMPT", "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT");

  private static final int LARGEST_PORT = 65535;

  private final Map<String, String> environment;

  private ExternalPlacement(Map<String, String> environment) {
    this.environment = environment;
  }

  /**
   * @param tokenFile holds the job's secret
   * @param encryption of what its ranks say to each other, the same for all
   * @param address of this host, on which other ranks reach this one; empty: {@code
   *     PHALANX_ADDRESS}, or the one that reaches {@code MASTER_ADDR}
   * @throws CommandException where the environment, the file or the address is wrong
   * @throws IOException where the file cannot be read
   */
  public static Placement of(
      Map<String, String> environment,
      Path tokenFile,
      Encryption encryption,
      Optional<String> address)
      throws IOException {
    return new ExternalPlacement(environment).placement(tokenFile, encryption, address);
  }

  private Placement placement(Path tokenFile, Encryption encryption, Optional<String> address)
      throws IOException {
    requireVariables();
    int worldSize = number(WORLD_SIZE, 1, Integer.MAX_VALUE);
    int rank = number(RANK, 0, worldSize - 1);
    int localRank = isSet(LOCAL_RANK) ? number(LOCAL_RANK, 0, worldSize - 1) : 0;
    int localWorldSize =
        isSet(LOCAL_WORLD_SIZE)
            ? number(LOCAL_WORLD_SIZE, localRank + 1, worldSize)
            : localRank + 1;
    InetAddress master = resolve(MASTER_ADDR, value(MASTER_ADDR));
    int port = number(MASTER_PORT, 1, LARGEST_PORT);
    if (rank == 0) {
      requireOwn(MASTER_ADDR, master, "rank 0 runs on that host, and this is another one");
    }
    InetSocketAddress rendezvous = new InetSocketAddress(master, port);
    return new Placement(
        worldSize,
        List.of(List.of(rank)),
        localRank,
        localWorldSize,
        TokenFile.read(tokenFile).ofAttempt(attempt()),
        encryption,
        rendezvous,
        rank == 0,
        rendezvous,
        ownAddress(address).orElseGet(() -> reaching(master, port)));
  }

  private Optional<InetAddress> ownAddress(Optional<String> given) {
    return given
        .map(address -> own("--address", address))
        .or(() -> isSet(ADDRESS) ? Optional.of(own(ADDRESS, value(ADDRESS))) : Optional.empty());
  }

  private void requireVariables() {
    List<String> missing =
        Stream.of(RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).filter(name -> !isSet(name)).toList();
    if (!missing.isEmpty()) {
      throw CommandException.usage(
          "--external takes RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT from the environment, as"
              + " torchrun sets them; there is no "
              + String.join(", no ", missing));
    }
  }

  private int attempt() {
    return ATTEMPTS.stream()
        .filter(this::isSet)
        .findFirst()
        .map(name -> number(name, 0, Integer.MAX_VALUE))
        .orElse(0);
  }

  private boolean isSet(String name) {
    return !value(name).isEmpty();
  }

  private String value(String name) {
    return environment.getOrDefault(name, "").trim();
  }

  private int number(String name, int least, int most) {
    try {
      int number = Integer.parseInt(value(name));
      if (number >= least && number <= most) {
        return number;
      }
    } catch (NumberFormatException e) {
      // told below
    }
    throw CommandException.usage(
        name
            + " is '"
            + value(name)
            + "'; it must be a number from "
            + least
            + (most == Integer.MAX_VALUE ? "" : " to " + most));
  }

  private static InetAddress own(String what, String address) {
    InetAddress own = resolve(what, address);
    requireOwn(what, own, "name the address on which other ranks reach this one");
    return own;
  }

  private static InetAddress resolve(String what, String host) {
    InetAddress address;
    try {
      address = InetAddress.getByName(host);
    } catch (UnknownHostException e) {
      throw new CommandException(
          ExitStatus.USAGE, what + " is '" + host + "', and no host of that name is known", e);
    }
    if (address.isAnyLocalAddress()) {
      throw CommandException.usage(
          what + " is '" + host + "', which means every address; name one that the ranks reach");
    }
    return address;
  }

  private static void requireOwn(String what, InetAddress address, String otherwise) {
    try (ServerSocket probe = new ServerSocket(0, 1, address)) {
      probe.getLocalPort();
    } catch (IOException e) {
      throw new CommandException(
          ExitStatus.USAGE,
          what
              + " is "
              + address.getHostAddress()
              + ", which is no address of this host: "
              + otherwise,
          e);
    }
  }

  /** The address that this host sends from when it sends to {@code master}. Nothing is sent. */
  private static InetAddress reaching(InetAddress master, int port) {
    try (DatagramSocket socket = new DatagramSocket()) {
      socket.connect(master, port);
      return socket.getLocalAddress();
    } catch (IOException | UncheckedIOException e) {
      throw new CommandException(
          ExitStatus.INPUT_OUTPUT,
          "no network of this host leads to MASTER_ADDR "
              + master.getHostAddress()
              + ": "
              + e.getMessage(),
          e);
    }
  }
}
