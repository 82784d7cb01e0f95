package dev.phalanx.launcher.local;

import dev.phalanx.trainer.config.JobConfig;
import java.nio.file.Path;
import java.util.Optional;

/**
 * A job to run on this host.
 *
 * @param config validated with this world size
 * @param isInProcess whether all ranks are threads of one worker process
 * @param isVerbose whether workers log more
 * @param resumeFrom a checkpoint or a directory of checkpoints
 * @param port where the ranks meet; 0: any free one
 * @param baseDirectory what relative paths of the plan start from
 */
public record JobOptions(
    JobConfig config,
    int worldSize,
    boolean isInProcess,
    boolean isVerbose,
    Optional<Path> resumeFrom,
    int port,
    Path baseDirectory) {

  /**
   * Threads that one kernel of one rank may use: the plan's, or an equal share of the host's cores.
   */
  public int threadsPerRank() {
    return config.threads() > 0
        ? config.threads()
        : Math.max(1, Runtime.getRuntime().availableProcessors() / worldSize);
  }
}
