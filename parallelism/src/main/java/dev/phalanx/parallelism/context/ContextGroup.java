package dev.phalanx.parallelism.context;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.parallelism.mesh.RankGroup;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * The ranks that divide each sequence among them, seen from one of them.
 *
 * <p>A sequence is cut into two chunks for each rank, and rank r of c has the chunks r and 2 c - 1
 * - r: with causal attention later tokens see more, and so every rank has as much to do.
 *
 * <pre>
 *   c = 2:   | 0 | 1 | 2 | 3 |      rank 0 has chunks 0 and 3, rank 1 has 1 and 2
 * </pre>
 *
 * <p>Used by the thread that trains.
 */
public final class ContextGroup extends RankGroup {
  /** Some tokens of a sequence that follow each other. */
  public record Chunk(long first, long count) {}

  private ContextGroup(Seat seat) {
    super(seat);
  }

  /** One rank, which has whole sequences. */
  public static ContextGroup single() {
    return new ContextGroup(Seat.ALONE);
  }

  /**
   * @param host an arena on the CPU, for copies where the communicator cannot read the device
   */
  public static ContextGroup of(Communicator ranks, Arena host) {
    return new ContextGroup(Seat.of(ranks, host));
  }

  /**
   * Tokens of a sequence that are here.
   *
   * @throws IllegalArgumentException where the sequence is not of two equal chunks for each rank
   */
  public long length(long sequence) {
    if (!isSingle() && sequence % (2L * size()) != 0) {
      throw new IllegalArgumentException(
          "A sequence of " + sequence + " tokens is not two equal chunks for each of " + size());
    }
    return sequence / size();
  }

  /** The chunks of a sequence that are here, in its order. */
  public List<Chunk> chunks(long sequence) {
    if (isSingle()) {
      return List.of(new Chunk(0, sequence));
    }
    long count = length(sequence) / 2;
    return List.of(
        new Chunk(rank() * count, count), new Chunk((2L * size() - 1 - rank()) * count, count));
  }

  /** The rank whose keys are here when they have gone on {@code steps} times. */
  int source(int steps) {
    return Math.floorMod(rank() - steps, size());
  }

  /** Passes one tensor on to the next rank and takes another from the rank before. */
  DeviceCollectives.Pending passOn(Tensor sent, Tensor received) {
    return ranks()
        .exchange(
            List.of(
                new PointToPoint.Send(sent, (rank() + 1) % size(), 0),
                new PointToPoint.Receive(received, source(1), 0)));
  }

  /** Each of some numbers added up over the ranks. */
  public long[] sum(long[] values) {
    if (isSingle()) {
      return values.clone();
    }
    try (Tensor tensor = ranks().numbers(values)) {
      await(ranks().allReduce(tensor));
      return HostArrays.downloadLongs(tensor);
    }
  }
}
