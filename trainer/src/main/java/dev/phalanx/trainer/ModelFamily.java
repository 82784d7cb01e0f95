package dev.phalanx.trainer;

import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.ParsedPlan;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;

/**
 * Trains models that are not this module's own, of one family of the plan file. A module brings it
 * as a service of this type.
 */
public interface ModelFamily {
  /** As {@code model.family} has it. */
  String name();

  /** The engine whose libraries a worker loads first. */
  String engine();

  /**
   * Flags of a worker's JVM that say who frees native memory; of our own models arenas alone do.
   *
   * @param workers JVMs on this host
   */
  List<String> memoryFlags(int workers);

  /**
   * What can be found out before processes start: whether the plan's files are there and fit.
   *
   * @throws dev.phalanx.trainer.data.DataException where data is missing, damaged or does not fit
   * @throws dev.phalanx.checkpoint.BadCheckpointException where the model's file is damaged
   * @throws IOException where a file cannot be read
   */
  void check(ParsedPlan plan, Path baseDirectory) throws IOException;

  /**
   * One rank's part of a job, as {@link TrainingJob#run} is for our own models.
   *
   * @param listener of this rank
   */
  JobResult train(
      JobConfig job, RankContext context, JobListener listener, Optional<Path> resumeFrom)
      throws InterruptedException, IOException;

  /**
   * What a job would be, without its other ranks: some of its steps are computed here.
   *
   * @throws NotFiniteException where a step's loss or gradient is none
   */
  FamilyRehearsal rehearse(JobConfig job, Path baseDirectory, int worldSize)
      throws InterruptedException, IOException;

  /**
   * The one on the class path.
   *
   * @throws ModelFamilyNotFoundException where there is none
   */
  static ModelFamily of(JobConfig job) {
    String name = job.model().family().label();
    return ServiceLoader.load(ModelFamily.class).stream()
        .map(ServiceLoader.Provider::get)
        .filter(family -> family.name().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new ModelFamilyNotFoundException(
                    "Nothing on the class path trains models of family "
                        + name
                        + ". Put the module phalanx-"
                        + name
                        + " and what it needs there."));
  }
}
