package dev.phalanx.parallelism.context;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

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
public final class ContextGroup {
  /** Some tokens of a sequence that follow each other. */
  public record Chunk(long first, long count) {}

  private final @Nullable DeviceCollectives collectives; // null: nobody to talk to
  private final int rank;
  private final int size;
  private final Waiting waiting = new Waiting();

  private ContextGroup(@Nullable DeviceCollectives collectives, int rank, int size) {
    this.collectives = collectives;
    this.rank = rank;
    this.size = size;
  }

  /** One rank, which has whole sequences. */
  public static ContextGroup single() {
    return new ContextGroup(null, 0, 1);
  }

  /**
   * @param host an arena on the CPU, for copies where the communicator cannot read the device
   */
  public static ContextGroup of(Communicator ranks, Arena host) {
    return new ContextGroup(new DeviceCollectives(host, ranks), ranks.rank(), ranks.size());
  }

  public int rank() {
    return rank;
  }

  public int size() {
    return size;
  }

  /** Whether sequences are whole. */
  public boolean isSingle() {
    return size == 1;
  }

  /**
   * Tokens of a sequence that are here.
   *
   * @throws IllegalArgumentException where the sequence is not of two equal chunks for each rank
   */
  public long length(long sequence) {
    if (!isSingle() && sequence % (2L * size) != 0) {
      throw new IllegalArgumentException(
          "A sequence of " + sequence + " tokens is not two equal chunks for each of " + size);
    }
    return sequence / size;
  }

  /** The chunks of a sequence that are here, in its order. */
  public List<Chunk> chunks(long sequence) {
    if (isSingle()) {
      return List.of(new Chunk(0, sequence));
    }
    long count = length(sequence) / 2;
    return List.of(
        new Chunk(rank * count, count), new Chunk((2L * size - 1 - rank) * count, count));
  }

  /** Time that the training thread has waited for this group's ranks. */
  public long exposedNanos() {
    return waiting.nanos();
  }

  /** The rank whose keys are here when they have gone on {@code steps} times. */
  int source(int steps) {
    return Math.floorMod(rank - steps, size);
  }

  /** Passes one tensor on to the next rank and takes another from the rank before. */
  DeviceCollectives.Pending passOn(Tensor sent, Tensor received) {
    if (collectives == null) {
      throw new IllegalStateException("One rank alone has nobody to pass anything on to");
    }
    return collectives.exchange(
        List.of(
            new PointToPoint.Send(sent, (rank + 1) % size, 0),
            new PointToPoint.Receive(received, source(1), 0)));
  }

  /** Each of some numbers added up over the ranks. */
  public long[] sum(long[] values) {
    if (collectives == null) {
      return values.clone();
    }
    try (Tensor tensor = collectives.numbers(values)) {
      await(collectives.allReduce(tensor));
      return HostArrays.downloadLongs(tensor);
    }
  }

  void await(DeviceCollectives.Pending pending) {
    waiting.awaitInPass(pending::await);
  }
}
