package dev.phalanx.launcher.event;

import dev.phalanx.collectives.security.Encryption;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * What a worker is to do. It reaches the worker through its standard input, the first line: the
 * token must not be seen in arguments or the environment.
 *
 * @param token the job's secret, with which ranks prove to each other that they belong to the job
 * @param encryption of what they say to each other
 * @param plan the effective plan file in YAML; of a benchmark its options in JSON
 * @param ranks the ranks that this worker runs, each on a thread of its own if there are several
 * @param localRank the number on this host of the first of them
 * @param localWorldSize ranks of the job on this host
 * @param address on which its ranks accept connections from others
 * @param rendezvousHost where ranks of several processes meet; not used where one worker runs the
 *     whole world
 * @param threads threads that one kernel of one rank may use
 * @param baseDirectory what relative paths of the plan start from
 * @param resumeFrom the checkpoint or directory of checkpoints that the job goes on from
 */
public record Assignment(
    String token,
    Encryption encryption,
    Task task,
    String plan,
    int worldSize,
    List<Integer> ranks,
    int localRank,
    int localWorldSize,
    String address,
    String rendezvousHost,
    int rendezvousPort,
    int threads,
    Path baseDirectory,
    Optional<Path> resumeFrom) {
  /** What a worker's ranks run. */
  public enum Task {
    TRAIN,
    BENCHMARK
  }

  public Assignment {
    ranks = List.copyOf(ranks);
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return "Assignment[ranks=" + ranks + " of " + worldSize + "]";
  }
}
