package dev.phalanx.trainer;

import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.LocalCheckpointStore;
import dev.phalanx.checkpoint.NoCheckpointException;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** Which checkpoint a job goes on from. */
public final class ResumePoint {
  private ResumePoint() {}

  /**
   * @param from a checkpoint, or a folder whose newest one is taken
   * @return empty where the folder is the plan's own and holds none yet: the job begins
   * @throws dev.phalanx.checkpoint.BadCheckpointException where it holds nothing but what is left
   *     of some
   * @throws IOException where another folder holds none, or cannot be read
   */
  public static Optional<Path> find(JobConfig job, RankContext context, Path from)
      throws IOException {
    if (Files.isRegularFile(from.resolve(CheckpointManifest.FILE))) {
      return Optional.of(from);
    }
    Optional<Path> newest = new LocalCheckpointStore(from).newest();
    Optional<Path> own =
        job.checkpoint().map(settings -> context.baseDirectory().resolve(settings.dir()));
    if (newest.isEmpty() && !(own.isPresent() && isOneFolder(own.get(), from))) {
      throw new NoCheckpointException(from);
    }
    return newest;
  }

  /** Whether a checkpoint lies in this folder, or a link to it, however either is spelled. */
  public static boolean isIn(Path checkpoint, Path folder) throws IOException {
    Path real = checkpoint.toRealPath().getParent();
    Path named = checkpoint.toAbsolutePath().normalize().getParent();
    return (real != null && isOneFolder(real, folder))
        || (named != null && isOneFolder(named, folder));
  }

  private static boolean isOneFolder(Path one, Path other) throws IOException {
    return one.toAbsolutePath().normalize().equals(other.toAbsolutePath().normalize())
        || (Files.exists(one) && Files.exists(other) && Files.isSameFile(one, other));
  }
}
