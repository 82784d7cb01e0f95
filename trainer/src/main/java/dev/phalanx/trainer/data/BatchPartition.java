package dev.phalanx.trainer.data;

/**
 * Which samples of a step belong to which data-parallel rank and micro-batch. The global batch of
 * step s (from 0) is the samples s·B … s·B + B - 1; rank r of p takes the r-th of p blocks of
 * consecutive samples, of which the first ones have a sample more where p does not divide B. Its
 * micro-batches are consecutive blocks of that; the last one has what is left.
 *
 * <pre>
 *   B = 8, p = 2, micro-batches of 2:   | 0 1 | 2 3 |  | 4 5 | 6 7 |
 *                                       └── rank 0 ──┘ └── rank 1 ──┘
 *
 *   B = 8, p = 3, micro-batches of 2:   | 0 1 | 2 |  | 3 4 | 5 |  | 6 7 | |
 *                                       └─ rank 0 ─┘ └─ rank 1 ─┘ └ rank 2 ┘
 * </pre>
 *
 * <p>All ranks have as many micro-batches as the one with the most samples, for they may talk to
 * each other in each of them; of ranks with fewer samples the last one may be empty.
 *
 * @param globalBatch samples per step
 * @param dataRanks data-parallel ranks
 * @param dataRank this one, from 0
 * @param microBatch samples of a micro-batch, at most
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
    if (globalBatch < dataRanks) {
      throw new IllegalArgumentException(
          "a global batch of "
              + globalBatch
              + " has no sample for each of "
              + dataRanks
              + " data-parallel ranks");
    }
  }

  /** Micro-batches that each rank runs in a step. */
  public long microBatches() {
    long samplesAtOnce = (long) dataRanks * microBatch;
    return (globalBatch + samplesAtOnce - 1) / samplesAtOnce;
  }

  /** Samples that this rank takes in a step. */
  public long samplesPerRank() {
    return firstOfRank(dataRank + 1) - firstOfRank(dataRank);
  }

  /** Within the global batch. */
  private long firstOfRank(int rank) {
    return rank * (globalBatch / dataRanks) + Math.min(rank, globalBatch % dataRanks);
  }

  /**
   * The first sample of a micro-batch of this rank; the last one that it takes, where none is left.
   *
   * @param step from 0
   * @param microBatchIndex from 0
   */
  public long firstSample(long step, long microBatchIndex) {
    if (step < 0) {
      throw new IndexOutOfBoundsException("step " + step + ", expected 0 or later");
    }
    return step * globalBatch
        + firstOfRank(dataRank)
        + Math.min(offset(microBatchIndex), samplesPerRank() - 1);
  }

  /**
   * How many samples a micro-batch of this rank has, perhaps none.
   *
   * @param microBatchIndex from 0
   */
  public int samples(long microBatchIndex) {
    return (int) Math.min(microBatch, samplesPerRank() - offset(microBatchIndex));
  }

  /** Within what this rank takes. */
  private long offset(long microBatchIndex) {
    if (microBatchIndex < 0 || microBatchIndex >= microBatches()) {
      throw new IndexOutOfBoundsException(
          "micro-batch " + microBatchIndex + ", expected 0 to " + (microBatches() - 1));
    }
    return microBatchIndex * microBatch;
  }

  /**
   * Samples consumed by all ranks before this step (from 0): the position that a checkpoint keeps.
   */
  public long samplesBefore(long step) {
    return step * globalBatch;
  }
}
