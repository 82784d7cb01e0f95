package dev.phalanx.launcher.local;

import dev.phalanx.trainer.config.JobConfig;
import java.nio.file.Path;
import java.util.Optional;

/**
 * A job to run, as far as its ranks are this host's.
 *
 * @param config validated with this world size
 * @param placement which ranks are
 * @param isVerbose whether workers log more
 * @param resumeFrom a checkpoint or a directory of checkpoints
 * @param baseDirectory what relative paths of the plan start from
 */
public record JobOptions(
    JobConfig config,
    Placement placement,
    boolean isVerbose,
    Optional<Path> resumeFrom,
    Path baseDirectory) {

  /**
   * Threads that one kernel of one rank may use: the plan's, or an equal share of the host's cores.
   */
  public int threadsPerRank() {
    return config.threads() > 0
        ? config.threads()
        : Math.max(1, Runtime.getRuntime().availableProcessors() / placement.localWorldSize());
  }
}
