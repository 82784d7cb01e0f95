package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Gradients of which ranks that divide a model have a part each though all hold the parameter:
 * norms under sequence parallelism, shared key and value heads, a table that is the first stage's
 * embedding and the last one's projection, all that ranks with other experts share. They are added
 * up when data-parallel ranks have summed theirs: long runs where they lie, a group's short ones
 * together in one all-reduce.
 *
 * <p>The ranks of a group lay such parameters out alike, so what one has of them the others have.
 */
final class CopiedGradients {
  /** Elements from which on a copy costs more than an all-reduce of its own. */
  private static final long LONG_RUN = 1 << 16;

  /** Long runs, each of which may take a copy on the host. */
  private static final int MOST_UNDER_WAY = 2;

  /**
   * What is added up in one group.
   *
   * @param together memory for the short runs, of as many elements
   */
  private record Sum(
      DeviceCollectives ranks, List<Tensor> longRuns, List<Tensor> shortRuns, Tensor together) {}

  private final Engine engine;
  private final Waiting waiting;
  private final List<Sum> sums = new ArrayList<>();

  /**
   * @param arena owns the memory in which runs are put together; their device's
   * @param host an arena on the CPU, for copies where a communicator cannot read the device
   * @param groups by the name that {@link Partition.Copies} give them
   * @param parts reduced gradients, this rank's part of each bucket
   * @param runs of them
   */
  CopiedGradients(
      Arena arena,
      Arena host,
      Map<String, Communicator> groups,
      List<Tensor> parts,
      List<HeldRun> runs,
      Waiting waiting) {
    this.engine = arena.engine();
    this.waiting = waiting;
    requireKnown(groups, runs);
    new TreeMap<>(groups) // in the same order on all ranks
        .forEach(
            (name, ranks) -> {
              List<HeldRun> own =
                  HeldRun.joined(runs.stream().filter(run -> run.isPartOf(name)).toList());
              if (!own.isEmpty()) {
                List<Tensor> gradients = own.stream().map(run -> run.of(parts)).toList();
                List<Tensor> longRuns = ofLength(gradients, LONG_RUN, Long.MAX_VALUE);
                List<Tensor> shortRuns = ofLength(gradients, 0, LONG_RUN - 1);
                long count = shortRuns.stream().mapToLong(Tensor::elementCount).sum();
                sums.add(
                    new Sum(
                        new DeviceCollectives(host, ranks),
                        longRuns,
                        shortRuns,
                        arena.allocate(DType.FLOAT32, count)));
              }
            });
  }

  private static List<Tensor> ofLength(List<Tensor> runs, long least, long most) {
    return runs.stream()
        .filter(run -> run.elementCount() >= least && run.elementCount() <= most)
        .toList();
  }

  private static void requireKnown(Map<String, Communicator> groups, List<HeldRun> runs) {
    for (HeldRun run : runs) {
      String group = run.copies().map(Partition.Copies::group).orElse("");
      if (run.isPartOf(group) && !groups.containsKey(group)) {
        throw new IllegalArgumentException("There are no ranks called " + group);
      }
    }
  }

  /** Adds up over every group; all ranks call it. */
  void sum() throws InterruptedException {
    for (Sum sum : sums) {
      Deque<DeviceCollectives.Pending> pending = new ArrayDeque<>();
      for (Tensor run : sum.longRuns()) {
        if (pending.size() == MOST_UNDER_WAY) {
          waiting.await(pending.remove()::await);
        }
        pending.add(sum.ranks().allReduce(run));
      }
      if (!sum.shortRuns().isEmpty()) {
        forEach(sum, engine::copy);
        pending.add(sum.ranks().allReduce(sum.together()));
      }
      for (DeviceCollectives.Pending each : pending) {
        waiting.await(each::await);
      }
      forEach(sum, (gradient, place) -> engine.copy(place, gradient));
    }
  }

  private interface Copying {
    void copy(Tensor gradient, Tensor place);
  }

  private static void forEach(Sum sum, Copying copying) {
    long first = 0;
    for (Tensor gradient : sum.shortRuns()) {
      try (Tensor place = sum.together().slice(0, first, gradient.elementCount())) {
        copying.copy(gradient, place);
      }
      first += gradient.elementCount();
    }
  }
}
