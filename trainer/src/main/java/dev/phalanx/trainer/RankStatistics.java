package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * What the report says of one rank.
 *
 * @param computeMillis of the steps, without what waiting for gradients took
 * @param idleMillis between the steps: data, evaluation, checkpoints
 */
record RankStatistics(
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
    double idleMillis) {

  private static final int FIELDS = 11;

  /**
   * The statistics of all ranks, on every rank. Numbers travel as doubles: counts are exact below
   * 2^53.
   */
  static List<RankStatistics> gather(Communicator world, Arena hostArena, RankStatistics own)
      throws InterruptedException {
    int bytesPerRank = FIELDS * Double.BYTES;
    try (Tensor mine = hostArena.allocate(DType.FLOAT64, FIELDS);
        Tensor all = hostArena.allocate(DType.FLOAT64, (long) FIELDS * world.size())) {
      own.write(mine.byteBuffer(0, bytesPerRank));
      world.allGather(mine, all).await();
      List<RankStatistics> ranks = new ArrayList<>();
      for (int rank = 0; rank < world.size(); rank++) {
        ranks.add(read(all.byteBuffer((long) rank * bytesPerRank, bytesPerRank)));
      }
      return ranks;
    }
  }

  private void write(ByteBuffer buffer) {
    buffer
        .putDouble(rank)
        .putDouble(peakResidentBytes)
        .putDouble(parameterBytes)
        .putDouble(gradientBytes)
        .putDouble(optimizerBytes)
        .putDouble(peakActivationBytes)
        .putDouble(dataBytesSent)
        .putDouble(dataMessagesSent)
        .putDouble(computeMillis)
        .putDouble(exposedCommunicationMillis)
        .putDouble(idleMillis);
  }

  private static RankStatistics read(ByteBuffer buffer) {
    return new RankStatistics(
        (int) buffer.getDouble(),
        (long) buffer.getDouble(),
        (long) buffer.getDouble(),
        (long) buffer.getDouble(),
        (long) buffer.getDouble(),
        (long) buffer.getDouble(),
        (long) buffer.getDouble(),
        (long) buffer.getDouble(),
        buffer.getDouble(),
        buffer.getDouble(),
        buffer.getDouble());
  }
}
