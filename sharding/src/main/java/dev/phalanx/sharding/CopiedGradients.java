package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Gradients of which ranks that divide a model have a part each though all hold the parameter:
 * norms under sequence parallelism, shared key and value heads, a table that is the first stage's
 * embedding and the last one's projection. They are added up when data-parallel ranks have summed
 * theirs, all of a group's in one all-reduce.
 *
 * <p>The ranks of a group lay such parameters out alike, so what one has of them the others have.
 */
final class CopiedGradients {
  /** What is added up in one group. */
  private record Sum(DeviceCollectives ranks, List<Tensor> runs, Tensor together) {}

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
              List<Tensor> gradients =
                  runs.stream()
                      .filter(run -> run.isPartOf(name))
                      .map(run -> run.of(parts))
                      .toList();
              long count = gradients.stream().mapToLong(Tensor::elementCount).sum();
              if (count > 0) {
                sums.add(
                    new Sum(
                        new DeviceCollectives(host, ranks),
                        gradients,
                        arena.allocate(DType.FLOAT32, count)));
              }
            });
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
      forEach(sum, engine::copy);
      waiting.await(sum.ranks().allReduce(sum.together())::await);
      forEach(sum, (gradient, place) -> engine.copy(place, gradient));
    }
  }

  private interface Copying {
    void copy(Tensor gradient, Tensor place);
  }

  private static void forEach(Sum sum, Copying copying) {
    long first = 0;
    for (Tensor gradient : sum.runs()) {
      try (Tensor place = sum.together().slice(0, first, gradient.elementCount())) {
        copying.copy(gradient, place);
      }
      first += gradient.elementCount();
    }
  }
}
