package dev.phalanx.trainer.data;

/**
 * Which samples of a step belong to which data-parallel rank and micro-batch. The global batch of
 * step s (from 0) is the samples s·B … s·B + B - 1; rank r of p takes the r-th of p equal blocks of
 * consecutive samples, and its micro-batches are consecutive blocks of that.
 *
 * <pre>
 *   B = 8, p = 2, micro-batches of 2:   | 0 1 | 2 3 |  | 4 5 | 6 7 |
 *                                       └── rank 0 ──┘ └── rank 1 ──┘
 * </pre>
 *
 * @param globalBatch samples per step
 * @param dataRanks data-parallel ranks
 * @param dataRank this one, from 0
 * @param microBatch samples per micro-batch
 */
public record BatchPartition(long globalBatch, int dataRanks, int dataRank, int microBatch) {
  public BatchPartition {
    if (globalBatch < 1 || dataRanks < 1 || microBatch < 1) {
      throw new IllegalArgumentException(
          "a global batch of "
              + globalBatch
              + " over "
              + dataRanks
              + " data-parallel ranks in micro-batches of "
              + microBatch
              + ": each must be 1 or more");
    }
    if (dataRank < 0 || dataRank >= dataRanks) {
      throw new IllegalArgumentException(
          "data-parallel rank " + dataRank + ", expected 0 to " + (dataRanks - 1));
    }
    if (globalBatch % ((long) dataRanks * microBatch) != 0) {
      throw new IllegalArgumentException(
          "a global batch of "
              + globalBatch
              + " does not divide into "
              + dataRanks
              + " data-parallel ranks × micro-batches of "
              + microBatch);
    }
  }

  /** Micro-batches that this rank runs in a step. */
  public long microBatches() {
    return samplesPerRank() / microBatch;
  }

  /** Samples that this rank takes in a step. */
  public long samplesPerRank() {
    return globalBatch / dataRanks;
  }

  /**
   * The first sample of a micro-batch of this rank.
   *
   * @param step from 0
   * @param microBatchIndex from 0
   */
  public long firstSample(long step, long microBatchIndex) {
    if (step < 0 || microBatchIndex < 0 || microBatchIndex >= microBatches()) {
      throw new IndexOutOfBoundsException(
          "micro-batch "
              + microBatchIndex
              + " of step "
              + step
              + ", expected 0 to "
              + (microBatches() - 1)
              + " of step 0 or later");
    }
    return step * globalBatch + dataRank * samplesPerRank() + microBatchIndex * microBatch;
  }

  /**
   * Samples consumed by all ranks before this step (from 0): the position that a checkpoint keeps.
   */
  public long samplesBefore(long step) {
    return step * globalBatch;
  }
}
