package dev.phalanx.launcher.local;

import dev.phalanx.collectives.rendezvous.HostName;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Which of a job's ranks this launcher starts, and where they meet all others.
 *
 * @param worldSize ranks of the whole job
 * @param workers the ranks that each worker process runs
 * @param localRank the number on this host of the first of them
 * @param localWorldSize ranks of the job on this host
 * @param token the job's secret
 * @param encryption of what its ranks say to each other
 * @param rendezvous where all ranks meet; port 0: any free one
 * @param isRendezvousHere whether it is this launcher that listens there
 * @param master what user code in the workers finds as {@code MASTER_ADDR} and {@code MASTER_PORT}
 * @param address on which the ranks accept connections from each other
 */
public record Placement(
    int worldSize,
    List<List<Integer>> workers,
    int localRank,
    int localWorldSize,
    JobToken token,
    Encryption encryption,
    InetSocketAddress rendezvous,
    boolean isRendezvousHere,
    InetSocketAddress master,
    InetAddress address) {

  public Placement {
    workers = List.copyOf(workers);
  }

  /**
   * All ranks of a job, on this host and reachable from nowhere else.
   *
   * @param isInProcess whether all ranks are threads of one worker process
   * @param port where they meet; 0: any free one
   */
  public static Placement here(
      int worldSize, boolean isInProcess, int port, Encryption encryption) {
    List<Integer> all = IntStream.range(0, worldSize).boxed().toList();
    InetAddress loopback = InetAddress.getLoopbackAddress();
    return new Placement(
        worldSize,
        isInProcess ? List.of(all) : all.stream().map(Collections::singletonList).toList(),
        0,
        worldSize,
        JobToken.random(),
        encryption,
        new InetSocketAddress(loopback, port),
        true,
        new InetSocketAddress(loopback, freePort(loopback)),
        loopback);
  }

  /**
   * A port that is free now, and that nothing of Phalanx takes: torchrun promises one on which user
   * code of rank 0 may listen, and the rendezvous is for ranks that hold the token.
   */
  private static int freePort(InetAddress address) {
    try (ServerSocket probe = new ServerSocket(0, 1, address)) {
      return probe.getLocalPort();
    } catch (IOException e) {
      throw new CommandException(
          ExitStatus.BUSY, "no port of " + address.getHostAddress() + " is free: " + e, e);
    }
  }

  /** The first of the ranks that this launcher starts. */
  public int firstRank() {
    return workers.get(0).get(0);
  }

  /** How many ranks this launcher starts. */
  public int ranksHere() {
    return workers.stream().mapToInt(List::size).sum();
  }

  /** Whether this launcher starts rank 0, which speaks for the job. */
  public boolean hasRankZero() {
    return firstRank() == 0;
  }

  /** What messages call this host. */
  String hostName() {
    return HostName.of(address);
  }

  /** The number that one of this launcher's ranks has on this host. */
  int localRank(int rank) {
    return localRank + rank - firstRank();
  }

  /** Whether one worker runs the whole job, so that nobody needs to meet. */
  boolean isOneWorker() {
    return workers.get(0).size() == worldSize;
  }
}
