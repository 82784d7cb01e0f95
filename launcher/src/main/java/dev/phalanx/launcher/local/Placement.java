package dev.phalanx.launcher.local;

import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import java.net.InetAddress;
import java.net.InetSocketAddress;
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
        loopback);
  }

  /** The first of the ranks that this launcher starts. */
  public int firstRank() {
    return workers.get(0).get(0);
  }

  /** Whether this launcher starts rank 0, which speaks for the job. */
  public boolean hasRankZero() {
    return firstRank() == 0;
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
