package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.tensor.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What the report says of one rank.
 *
 * @param sent to others, for the sake of each axis of the mesh
 * @param computeMillis of the steps, without what waiting for other ranks took
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
    Map<Axis, Traffic> sent,
    double computeMillis,
    double exposedCommunicationMillis,
    double idleMillis,
    @Nullable CompressionStatistics compression) {

  private static final int FIELDS = 13 + 2 * RankGroups.COMMUNICATING_AXES.size();
  private static final double NONE = -1;

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

  public RankStatistics {
    sent = Map.copyOf(sent);
  }

  /** What was sent for the sake of an axis. */
  Traffic sent(Axis axis) {
    return sent.getOrDefault(axis, new Traffic(0, 0));
  }

  private void write(HostNumbers numbers) {
    List<Double> fields =
        new ArrayList<>(
            List.of(
                (double) rank,
                (double) peakResidentBytes,
                (double) parameterBytes,
                (double) gradientBytes,
                (double) optimizerBytes,
                (double) peakActivationBytes,
                computeMillis,
                exposedCommunicationMillis,
                idleMillis,
                compression == null ? NONE : (double) compression.uncompressedBytes(),
                compression == null ? 0.0 : compression.sentBytes(),
                compression == null ? 0.0 : compression.codecNanos(),
                compression == null ? 0.0 : compression.errorNorm()));
    for (Axis axis : RankGroups.COMMUNICATING_AXES) {
      fields.add((double) sent(axis).bytesSent());
      fields.add((double) sent(axis).messagesSent());
    }
    for (int i = 0; i < FIELDS; i++) {
      numbers.set(i, fields.get(i));
    }
  }

  private static RankStatistics read(HostNumbers numbers, int first) {
    Map<Axis, Traffic> sent = new EnumMap<>(Axis.class);
    int next = first + FIELDS - 2 * RankGroups.COMMUNICATING_AXES.size();
    for (Axis axis : RankGroups.COMMUNICATING_AXES) {
      sent.put(axis, new Traffic((long) numbers.get(next), (long) numbers.get(next + 1)));
      next += 2;
    }
    return new RankStatistics(
        (int) numbers.get(first),
        (long) numbers.get(first + 1),
        (long) numbers.get(first + 2),
        (long) numbers.get(first + 3),
        (long) numbers.get(first + 4),
        (long) numbers.get(first + 5),
        sent,
        numbers.get(first + 6),
        numbers.get(first + 7),
        numbers.get(first + 8),
        compression(numbers, first + 9));
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
