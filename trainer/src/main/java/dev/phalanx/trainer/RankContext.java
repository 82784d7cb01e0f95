package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ProcessGroups;
import java.nio.file.Path;
import java.util.function.BooleanSupplier;

/**
 * What a rank is given by whoever starts it.
 *
 * @param rank this rank's number in the job, from 0
 * @param worldSize ranks in the job
 * @param localRank this rank's number on its host
 * @param localWorldSize ranks on this host
 * @param groups makes groups of the job's ranks
 * @param world the group of all ranks; the caller closes it after the job
 * @param threads threads that one kernel may use
 * @param baseDirectory what relative paths of the plan file start from
 * @param stopRequested asked between steps: the job saves a checkpoint and ends with {@link
 *     JobResult.Outcome#STOPPED}
 */
public record RankContext(
    int rank,
    int worldSize,
    int localRank,
    int localWorldSize,
    ProcessGroups groups,
    Communicator world,
    int threads,
    Path baseDirectory,
    BooleanSupplier stopRequested) {}
