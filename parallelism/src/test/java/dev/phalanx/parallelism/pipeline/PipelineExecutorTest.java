package dev.phalanx.parallelism.pipeline;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Tensor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Whatever the table, every stage gets what its neighbours gave for this micro-batch. */
@Timeout(120)
final class PipelineExecutorTest {
  /** More than a transport's buffers hold at once. */
  private static final int ELEMENTS = 300_000;

  /** Numbers that tell from where they come. */
  private static final class Numbers implements StageWork {
    final ScheduleTable table;
    final Arena arena;
    final int more;
    final List<Action> done = new ArrayList<>();
    int live;
    int peak;

    Numbers(ScheduleTable table, Arena arena, int more) {
      this.more = more;
      this.table = table;
      this.arena = arena;
    }

    static float activation(int stage, int microBatch) {
      return 1000 * microBatch + stage;
    }

    static float gradient(int stage, int microBatch) {
      return -(1000 * microBatch + stage);
    }

    @Override
    public Tensor allocate(int microBatch) {
      return arena.allocate(DType.FLOAT32, ELEMENTS + microBatch + more);
    }

    private @Nullable Tensor give(boolean isWanted, int microBatch, float value) {
      if (!isWanted) {
        return null;
      }
      Tensor tensor = allocate(microBatch);
      arena.engine().fill(tensor, value);
      return tensor;
    }

    private void take(@Nullable Tensor tensor, boolean isExpected, float value) {
      assertThat(tensor != null).isEqualTo(isExpected);
      if (tensor != null) {
        int last = Math.toIntExact(tensor.byteSize()) - Float.BYTES;
        assertThat(tensor.byteBuffer(0, Float.BYTES).getFloat()).isEqualTo(value);
        assertThat(tensor.byteBuffer(last, Float.BYTES).getFloat()).isEqualTo(value);
        tensor.close();
      }
    }

    @Override
    public @Nullable Tensor forward(int stage, int microBatch, @Nullable Tensor input) {
      take(input, stage > 0, activation(stage - 1, microBatch));
      done.add(new Action(stage, Action.Kind.FORWARD, microBatch));
      live++;
      peak = Math.max(peak, live);
      return give(stage < table.stages() - 1, microBatch, activation(stage, microBatch));
    }

    @Override
    public @Nullable Tensor backward(Action action, @Nullable Tensor gradient) {
      int stage = action.stage();
      int microBatch = action.microBatch();
      take(gradient, stage < table.stages() - 1, gradient(stage + 1, microBatch));
      done.add(action);
      if (action.freesActivations()) {
        live--;
      }
      return give(stage > 0, microBatch, gradient(stage, microBatch));
    }

    @Override
    public void backwardWeight(int stage, int microBatch) {
      done.add(new Action(stage, Action.Kind.BACKWARD_WEIGHT, microBatch));
      live--;
    }
  }

  @ParameterizedTest(name = "{0}, {1} ranks, {2} micro-batches, {3} stages a rank")
  @CsvSource({
    "gpipe, 2, 5, 1",
    "1f1b, 4, 8, 1",
    "1f1b, 3, 2, 1",
    "interleaved, 2, 4, 3",
    "interleaved, 3, 7, 2",
    "zb-h1, 4, 6, 1",
    "zb-h2, 3, 8, 1"
  })
  void schedulesWithAName(String name, int ranks, int microBatches, int stagesOfRank)
      throws Exception {
    check(PipelineSchedules.named(name, stagesOfRank).table(ranks, microBatches));
  }

  /** Stages on any ranks, micro-batches in any order that ends. */
  @Test
  void tablesOfAnyKind() throws Exception {
    for (int seed = 0; seed < 25; seed++) {
      check(anyTable(new Random(seed)));
    }
  }

  /** A stage that expects other activations than it is sent says so, and nobody waits for ever. */
  @Test
  void activationsOfAnotherShapeAreNamed() throws Exception {
    ScheduleTable table = new GPipe().table(2, 2);
    InProcessGroups groups =
        new InProcessGroups(2, new GroupOptions(Algorithm.AUTO, Duration.ofSeconds(5), 1));
    ExecutorService threads = Executors.newCachedThreadPool();
    try {
      Future<Numbers> first = threads.submit(() -> run(table, 0, groups.ofRank(0), 0));
      Future<Numbers> second = threads.submit(() -> run(table, 1, groups.ofRank(1), 8));
      assertThatThrownBy(() -> second.get(30, SECONDS))
          .cause()
          .isInstanceOf(CollectiveException.class)
          .hasMessageContaining("activations 0 to 1")
          .hasMessageContaining("300000")
          .hasMessageContaining("300008");
      assertThatThrownBy(() -> first.get(30, SECONDS))
          .cause()
          .isInstanceOf(CollectiveException.class);
    } finally {
      threads.shutdownNow();
    }
  }

  private static ScheduleTable anyTable(Random random) {
    int ranks = 1 + random.nextInt(4);
    int stages = ranks + random.nextInt(4);
    int microBatches = 1 + random.nextInt(5);
    int[] holders = new int[stages];
    for (int stage = 0; stage < stages; stage++) {
      holders[stage] = stage < ranks ? stage : random.nextInt(ranks);
    }
    for (int stage = stages - 1; stage > 0; stage--) { // any order of ranks
      int other = random.nextInt(stage + 1);
      int holder = holders[stage];
      holders[stage] = holders[other];
      holders[other] = holder;
    }
    Set<Action> left = new HashSet<>();
    for (int stage = 0; stage < stages; stage++) {
      for (int microBatch = 0; microBatch < microBatches; microBatch++) {
        left.add(new Action(stage, Action.Kind.FORWARD, microBatch));
        if (random.nextBoolean()) {
          left.add(new Action(stage, Action.Kind.BACKWARD, microBatch));
        } else {
          left.add(new Action(stage, Action.Kind.BACKWARD_INPUT, microBatch));
          left.add(new Action(stage, Action.Kind.BACKWARD_WEIGHT, microBatch));
        }
      }
    }
    List<List<Action>> table = new ArrayList<>();
    for (int rank = 0; rank < ranks; rank++) {
      table.add(new ArrayList<>());
    }
    while (!left.isEmpty()) {
      List<Action> ready =
          left.stream()
              .filter(action -> isReady(action, left, stages))
              .sorted(Comparator.comparing(Action::toString))
              .toList();
      Action next = ready.get(random.nextInt(ready.size()));
      table.get(holders[next.stage()]).add(next);
      left.remove(next);
    }
    return new ScheduleTable(table);
  }

  private static boolean isReady(Action action, Set<Action> left, int stages) {
    int stage = action.stage();
    int microBatch = action.microBatch();
    return switch (action.kind()) {
      case FORWARD ->
          stage == 0 || !left.contains(new Action(stage - 1, Action.Kind.FORWARD, microBatch));
      case BACKWARD, BACKWARD_INPUT ->
          !left.contains(new Action(stage, Action.Kind.FORWARD, microBatch))
              && (stage == stages - 1
                  || (!left.contains(new Action(stage + 1, Action.Kind.BACKWARD, microBatch))
                      && !left.contains(
                          new Action(stage + 1, Action.Kind.BACKWARD_INPUT, microBatch))));
      case BACKWARD_WEIGHT ->
          !left.contains(new Action(stage, Action.Kind.BACKWARD_INPUT, microBatch));
    };
  }

  private static void check(ScheduleTable table) throws Exception {
    int ranks = table.ranks().size();
    InProcessGroups groups =
        new InProcessGroups(ranks, new GroupOptions(Algorithm.AUTO, Duration.ofSeconds(20), 1));
    ExecutorService threads = Executors.newCachedThreadPool();
    try {
      List<Future<Numbers>> all = new ArrayList<>();
      for (int rank = 0; rank < ranks; rank++) {
        int own = rank;
        all.add(threads.submit(() -> run(table, own, groups.ofRank(own), 0)));
      }
      for (int rank = 0; rank < ranks; rank++) {
        Numbers work = all.get(rank).get(60, SECONDS);
        assertThat(work.done).as(table.text()).isEqualTo(table.ranks().get(rank));
        double promised = table.peakMicroBatches(rank) * table.stagesOf(rank).size();
        assertThat((double) work.peak).isEqualTo(promised);
        assertThat(work.live).isZero();
      }
    } finally {
      threads.shutdownNow();
    }
  }

  /**
   * @param more elements than the others have
   */
  private static Numbers run(ScheduleTable table, int rank, ProcessGroups groups, int more)
      throws Exception {
    Map<StageChannel, Communicator> channels = new HashMap<>();
    try (Engine engine = Engines.open("torch", new EngineOptions(1));
        Arena arena = new Arena(engine, Device.CPU)) {
      for (StageChannel channel : PipelineExecutor.channels(table)) {
        if (channel.from() == rank || channel.to() == rank) {
          channels.put(
              channel, groups.group(channel.label(), List.of(channel.from(), channel.to())));
        }
      }
      Numbers work = new Numbers(table, arena, more);
      new PipelineExecutor(table, rank, arena, channels).run(work);
      assertThat(arena.bytesInUse()).isZero();
      return work;
    } finally {
      channels.values().forEach(Communicator::close);
    }
  }
}
