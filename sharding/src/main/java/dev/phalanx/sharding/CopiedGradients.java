package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Gradients of which ranks that divide a model have a part each though all hold the parameter:
 * norms under sequence parallelism, shared key and value heads, a table that is the first stage's
 * embedding and the last one's projection, all that ranks with other experts share. They are added
 * up when data-parallel ranks have summed theirs: long runs where they lie, while the backward pass
 * goes on where {@link #after} is asked, a group's short ones together in one all-reduce at the
 * end.
 *
 * <p>The ranks of a group lay such parameters out alike, so what one has of them the others have.
 * Each group's sums are in one order on all its ranks; when they begin beside another group's
 * depends on each rank's time, which groups with threads of their own do not mind.
 */
final class CopiedGradients {
  /** Elements from which on a copy costs more than an all-reduce of its own. */
  private static final long LONG_RUN = 1 << 16;

  /** Long runs that begin at the end, each of which may take a copy on the host. */
  private static final int MOST_UNDER_WAY = 2;

  /** What is added up where it lies. */
  private record LongRun(DeviceCollectives ranks, HeldRun run, Tensor gradients) {
    DeviceCollectives.Pending start() {
      return ranks.allReduce(gradients);
    }

    /** What lies apart is complete at one end of a pipeline long before it is at the other. */
    boolean isEarly(ShardLayout.Bucket bucket) {
      return run.bucket() == bucket && !run.copies().map(Partition.Copies::isApart).orElse(false);
    }
  }

  /** A sum that several may await, and what follows from it. */
  private static final class Summed implements DeviceCollectives.Pending {
    private final DeviceCollectives.Pending sum;
    private final List<LongRun> longRuns;
    private boolean isOver;

    Summed(DeviceCollectives.Pending sum, List<LongRun> longRuns) {
      this.sum = sum;
      this.longRuns = longRuns;
    }

    @Override
    public void await() throws InterruptedException {
      if (!isOver) {
        sum.await();
        isOver = true;
      }
    }

    @Override
    public boolean isDone() {
      return isOver || sum.isDone();
    }
  }

  /**
   * What is added up together in one group.
   *
   * @param together memory for the runs, of as many elements
   */
  private record ShortRuns(DeviceCollectives ranks, List<Tensor> gradients, Tensor together) {}

  private final Engine engine;
  private final Waiting waiting;
  private final List<LongRun> longRuns = new ArrayList<>();
  private final List<ShortRuns> shortRuns = new ArrayList<>();
  private final Deque<Summed> waitingForSums = new ArrayDeque<>();
  private final Set<HeldRun> started = new HashSet<>(); // of this step
  private final Deque<DeviceCollectives.Pending> underWay = new ArrayDeque<>();

  /**
   * @param parts reduced gradients, this rank's part of each bucket
   */
  CopiedGradients(
      ModelMemory.Setup setup, ShardLayout layout, List<Tensor> parts, Waiting waiting) {
    this.engine = setup.arena().engine();
    this.waiting = waiting;
    List<HeldRun> runs = layout.heldRuns(setup.groups().shardRank());
    requireKnown(setup.copies(), runs);
    new TreeMap<>(setup.copies()) // in the same order on all ranks
        .forEach(
            (name, group) -> {
              DeviceCollectives ranks = new DeviceCollectives(setup.host(), group);
              List<Tensor> small = new ArrayList<>();
              for (HeldRun run :
                  HeldRun.joined(runs.stream().filter(each -> each.isPartOf(name)).toList())) {
                Tensor gradients = run.of(parts);
                if (run.count() >= LONG_RUN) {
                  longRuns.add(new LongRun(ranks, run, gradients));
                } else {
                  small.add(gradients);
                }
              }
              if (!small.isEmpty()) {
                long count = small.stream().mapToLong(Tensor::elementCount).sum();
                Tensor together = setup.arena().allocate(DType.FLOAT32, count);
                shortRuns.add(new ShortRuns(ranks, small, together));
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

  /**
   * Once a bucket's sum over the data-parallel ranks is there its long runs are summed over those
   * that have copies: that begins when it is found to be there, in the order of the buckets, and at
   * the latest in {@link #sumRest}. All ranks ask for the same buckets in the same order.
   *
   * @param sum of the bucket, under way
   * @return to be awaited in its place
   */
  DeviceCollectives.Pending after(DeviceCollectives.Pending sum, ShardLayout.Bucket bucket) {
    List<LongRun> early = longRuns.stream().filter(run -> run.isEarly(bucket)).toList();
    Summed summed = new Summed(sum, early);
    if (!early.isEmpty()) {
      waitingForSums.add(summed);
    }
    while (!waitingForSums.isEmpty() && waitingForSums.peek().isDone()) {
      start(waitingForSums.remove());
    }
    return early.isEmpty() ? sum : summed;
  }

  private void start(Summed summed) {
    waiting.awaitInPass(summed::await);
    for (LongRun run : summed.longRuns) {
      started.add(run.run());
      underWay.add(run.start());
    }
  }

  /** Adds up what {@link #after} has not; all ranks call it once data-parallel sums are there. */
  void sumRest() throws InterruptedException {
    while (!waitingForSums.isEmpty()) {
      start(waitingForSums.remove());
    }
    for (LongRun run : longRuns) {
      if (!started.contains(run.run())) {
        if (underWay.size() >= MOST_UNDER_WAY) {
          waiting.await(underWay.remove()::await);
        }
        underWay.add(run.start());
      }
    }
    for (ShortRuns runs : shortRuns) {
      forEach(runs, engine::copy);
      underWay.add(runs.ranks().allReduce(runs.together()));
    }
    while (!underWay.isEmpty()) {
      waiting.await(underWay.remove()::await);
    }
    shortRuns.forEach(runs -> forEach(runs, (gradient, place) -> engine.copy(place, gradient)));
    started.clear();
  }

  private interface Copying {
    void copy(Tensor gradient, Tensor place);
  }

  private static void forEach(ShortRuns runs, Copying copying) {
    long first = 0;
    for (Tensor gradient : runs.gradients()) {
      try (Tensor place = runs.together().slice(0, first, gradient.elementCount())) {
        copying.copy(gradient, place);
      }
      first += gradient.elementCount();
    }
  }
}
