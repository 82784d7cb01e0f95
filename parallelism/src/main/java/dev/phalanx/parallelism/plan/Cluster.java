package dev.phalanx.parallelism.plan;

import java.util.List;

/**
 * The devices that a job would run on: hosts of equal devices, ranks on neighbouring devices.
 *
 * @param devicesPerHost at least 1
 * @param operationsPerSecond of a device's matrix products, as fast as layers reach it
 * @param memoryBytes of a device
 * @param memoryBytesPerSecond what a device reads and writes
 * @param withinHost between devices of one host
 * @param betweenHosts a device's share of its host's network
 */
public record Cluster(
    int devicesPerHost,
    double operationsPerSecond,
    double memoryBytes,
    double memoryBytesPerSecond,
    Link withinHost,
    Link betweenHosts) {
  /**
   * @param bytesPerSecond of one device, one way
   * @param latencySeconds of a message
   */
  public record Link(double bytesPerSecond, double latencySeconds) {
    /** How long bytes in so many messages, one after the other, are on their way. */
    public double seconds(double bytes, double messages) {
      return bytes / bytesPerSecond + messages * latencySeconds;
    }
  }

  /** Beside tensors lie libraries, what they keep for themselves, and gaps. */
  private static final double USABLE_MEMORY = 0.92;

  /** The same devices where they compute at another rate. */
  public Cluster withOperationsPerSecond(double rate) {
    return new Cluster(
        devicesPerHost, rate, memoryBytes, memoryBytesPerSecond, withinHost, betweenHosts);
  }

  /** What tensors may take of a device's memory. */
  public double usableMemoryBytes() {
    return USABLE_MEMORY * memoryBytes;
  }

  /**
   * What the ranks of a job's groups along some axes talk over: a step is as slow as the slowest of
   * them, so the link between hosts where any group is on several.
   *
   * @param groups of ranks in ascending order
   */
  public Link between(List<List<Integer>> groups) {
    return groups.stream().allMatch(this::isOnOneHost) ? withinHost : betweenHosts;
  }

  private boolean isOnOneHost(List<Integer> group) {
    return group.get(0) / devicesPerHost == group.get(group.size() - 1) / devicesPerHost;
  }
}
