package dev.phalanx.collectives.rendezvous;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** What messages call this host. Nothing is looked up in a network, which may be what failed. */
public final class HostName {
  private static final String LOCAL = "localhost";
  private static final Path OF_SYSTEM = Path.of("/proc/sys/kernel/hostname");

  private HostName() {}

  /** The name that this host gives itself; empty where it tells none. */
  public static Optional<String> own() {
    String set = System.getenv("HOSTNAME");
    if (set != null && !set.isBlank()) {
      return Optional.of(set);
    }
    try {
      return Optional.of(Files.readString(OF_SYSTEM).trim());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /**
   * @param address on which its ranks are reached: who is reached from this host alone needs no
   *     name
   */
  public static String of(InetAddress address) {
    if (address.isLoopbackAddress()) {
      return LOCAL;
    }
    return own().orElseGet(address::getHostAddress);
  }
}
