package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.tensor.Arena;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What the report says of one rank.
 *
 * @param computeMillis of the steps, without what waiting for gradients took
 * @param idleMillis between the steps: data, evaluation, checkpoints
 * @param compression of gradients; null where nothing is compressed
 */
public record RankStatistics(
    int rank,
    long peakResidentBytes,
    long parameterBytes,
    long gradientBytes,
    long optimizerBytes,
    long peakActivationBytes,
    long dataBytesSent,
    long dataMessagesSent,
    double computeMillis,
    double exposedCommunicationMillis,
    double idleMillis,
    @Nullable CompressionStatistics compression) {

  private static final int FIELDS = 15;
  private static final long NONE = -1;

  /** The statistics of all ranks, on every rank. */
  static List<RankStatistics> gather(Communicator world, Arena host, RankStatistics own)
      throws InterruptedException {
    try (HostNumbers mine = new HostNumbers(host, FIELDS);
        HostNumbers all = new HostNumbers(host, Math.multiplyExact(FIELDS, world.size()))) {
      own.write(mine);
      mine.allGather(world, all).await();
      return IntStream.range(0, world.size()).mapToObj(rank -> read(all, rank * FIELDS)).toList();
    }
  }

  private void write(HostNumbers numbers) {
    double[] fields = {
      rank,
      peakResidentBytes,
      parameterBytes,
      gradientBytes,
      optimizerBytes,
      peakActivationBytes,
      dataBytesSent,
      dataMessagesSent,
      computeMillis,
      exposedCommunicationMillis,
      idleMillis,
      compression == null ? NONE : compression.uncompressedBytes(),
      compression == null ? 0 : compression.sentBytes(),
      compression == null ? 0 : compression.codecNanos(),
      compression == null ? 0 : compression.residualNorm()
    };
    for (int i = 0; i < FIELDS; i++) {
      numbers.set(i, fields[i]);
    }
  }

  private static RankStatistics read(HostNumbers numbers, int first) {
    return new RankStatistics(
        (int) numbers.get(first),
        (long) numbers.get(first + 1),
        (long) numbers.get(first + 2),
        (long) numbers.get(first + 3),
        (long) numbers.get(first + 4),
        (long) numbers.get(first + 5),
        (long) numbers.get(first + 6),
        (long) numbers.get(first + 7),
        numbers.get(first + 8),
        numbers.get(first + 9),
        numbers.get(first + 10),
        compression(numbers, first + 11));
  }

  private static @Nullable CompressionStatistics compression(HostNumbers numbers, int first) {
    return numbers.get(first) == NONE
        ? null
        : new CompressionStatistics(
            (long) numbers.get(first),
            (long) numbers.get(first + 1),
            (long) numbers.get(first + 2),
            numbers.get(first + 3));
  }
}
