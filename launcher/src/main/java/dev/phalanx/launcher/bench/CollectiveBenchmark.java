package dev.phalanx.launcher.bench;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.nio.DoubleBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.LongToDoubleFunction;

/**
 * Times collectives as nccl-tests do and checks what comes out. Every rank runs it.
 *
 * <p>A sample is the mean of some calls one after the other, behind a barrier; its time is that of
 * the slowest rank. What counts is the median of the samples.
 */
public final class CollectiveBenchmark {
  private static final long SMALL_BYTES = 1 << 20;
  private static final int MOST_CALLS_IN_A_SAMPLE = 20;
  private static final double LEAST_WARM_UP_MILLIS = 1000;
  private static final double MOST_WARM_UP_MILLIS = 30_000;

  /** A JVM that compiles for a larger part of the time is not warm. */
  private static final double COMPILING = 0.1;

  private static final long CHUNK = 1 << 18;
  private static final long ALIGNMENT = 4096;
  private static final int ROOT = 0;

  /** Times the largest value that is no more than what a UINT8 holds, and BFLOAT16 exactly. */
  private static final int MOST_THAT_ADD = 63;

  /**
   * @param whole [ranks * n]
   * @param other [ranks * n]
   * @param own [n], the beginning of {@code other}
   */
  private record Buffers(Tensor whole, Tensor other, Tensor own) {}

  private final Communicator world;
  private final BenchmarkOptions options;
  private final BooleanSupplier stopRequested;
  private Optional<Storage> shared = Optional.empty();

  /**
   * @param stopRequested asked before each measurement and while the JVM warms up, which may take
   *     longer than what is measured then
   */
  public CollectiveBenchmark(
      Communicator world, BenchmarkOptions options, BooleanSupplier stopRequested) {
    this.world = world;
    this.options = options;
    this.stopRequested = stopRequested;
  }

  /** Measures everything; {@code rows} hears of each result on every rank. */
  public void run(Consumer<BenchmarkRow> rows) throws InterruptedException {
    try (Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
        Arena arena = new Arena(engine, Device.CPU)) {
      share(engine);
      for (MeasuredOperation operation : options.operations()) {
        for (long bytes : options.sizes()) {
          if (anyRankWantsToStop(arena)) {
            return;
          }
          measure(arena, operation, bytes).ifPresent(rows);
          arena.trim();
        }
      }
    }
  }

  private boolean anyRankWantsToStop(Arena arena) throws InterruptedException {
    return mostOfAnyRank(arena, stopRequested.getAsBoolean() ? 1 : 0) > 0;
  }

  private double mostOfAnyRank(Arena arena, double own) throws InterruptedException {
    try (Tensor most = arena.allocate(DType.FLOAT64, 1)) {
      doubles(most).put(0, own);
      world.allReduce(most, ReduceOperation.MAXIMUM).await();
      return doubles(most).get(0);
    }
  }

  /** Empty where it was stopped. */
  private Optional<BenchmarkRow> measure(Arena arena, MeasuredOperation operation, long bytes)
      throws InterruptedException {
    int ranks = world.size();
    long part = bytes / options.dtype().byteSize() / ranks;
    long second = ALIGNMENT + bytes / ALIGNMENT * ALIGNMENT;
    try (Tensor whole = memory(arena, 0, part * ranks);
        Tensor other = memory(arena, second, part * ranks);
        Tensor own = other.slice(0, 0, part)) {
      Buffers buffers = new Buffers(whole, other, own);
      long wrong = check(arena, operation, buffers);
      arena.engine().fill(whole, 0);
      arena.engine().fill(other, 0);
      int calls = callsInASample(whole.byteSize());
      if (!warmUp(arena, operation, buffers, calls)) {
        return Optional.empty();
      }
      double[] samples = time(arena, operation, buffers, calls);
      double median = quantile(samples, 0.5);
      double bandwidth = median > 0 ? whole.byteSize() / median / 1e3 : 0; // B / us to GB / s
      return Optional.of(
          new BenchmarkRow(
              operation.label(),
              whole.byteSize(),
              whole.elementCount(),
              options.dtype().name().toLowerCase(Locale.ROOT),
              operation.isReduction() ? "sum" : "none",
              ranks,
              world.transport(),
              options.algorithm().label(),
              shared.isPresent() ? "shared" : "private",
              samples.length,
              median,
              quantile(samples, 0.1),
              quantile(samples, 0.9),
              bandwidth,
              bandwidth * operation.busFactor(ranks),
              wrong));
    }
  }

  /** Memory for the largest tensors that all ranks read, as training's gradients have it. */
  private void share(Engine engine) throws InterruptedException {
    if (options.memory() == BenchmarkOptions.Memory.SHARED) {
      long largest = options.sizes().stream().mapToLong(bytes -> bytes).max().orElse(0);
      shared = world.allocateShared(2 * (largest + ALIGNMENT), engine::wrap);
    }
  }

  private Tensor memory(Arena arena, long start, long elements) {
    if (shared.isPresent()) {
      return Tensor.over(shared.get(), start, options.dtype(), Shape.of(elements));
    }
    return arena.allocate(options.dtype(), elements);
  }

  private double[] time(Arena arena, MeasuredOperation operation, Buffers buffers, int calls)
      throws InterruptedException {
    int samples = options.samples() > 0 ? options.samples() : samples(buffers.whole().byteSize());
    try (Tensor micros = arena.allocate(DType.FLOAT64, samples)) {
      DoubleBuffer values = doubles(micros);
      for (int sample = 0; sample < samples; sample++) {
        values.put(sample, sample(operation, buffers, calls));
      }
      world.allReduce(micros, ReduceOperation.MAXIMUM).await();
      double[] slowest = new double[samples];
      values.get(0, slowest);
      return slowest;
    }
  }

  /** Until the JVM has next to nothing more to compile of what runs; false where it was stopped. */
  private boolean warmUp(Arena arena, MeasuredOperation operation, Buffers buffers, int calls)
      throws InterruptedException {
    if (options.warmup() >= 0) {
      for (int sample = 0; sample < options.warmup(); sample++) {
        sample(operation, buffers, calls);
      }
      return true;
    }
    CompilationMXBean compiler = ManagementFactory.getCompilationMXBean();
    double elapsedMillis = 0;
    boolean isCompiling = true;
    for (int samples = 1;
        elapsedMillis < LEAST_WARM_UP_MILLIS || isCompiling && elapsedMillis < MOST_WARM_UP_MILLIS;
        samples *= 2) {
      long start = System.nanoTime();
      long compiledBefore = compiler.getTotalCompilationTime();
      for (int sample = 0; sample < samples; sample++) {
        sample(operation, buffers, calls);
      }
      // All ranks must decide alike.
      double took = mostOfAnyRank(arena, (System.nanoTime() - start) / 1e6);
      double compiled = mostOfAnyRank(arena, compiler.getTotalCompilationTime() - compiledBefore);
      isCompiling = compiled > COMPILING * took;
      elapsedMillis += took;
      if (anyRankWantsToStop(arena)) {
        return false;
      }
    }
    return true;
  }

  /** The mean time of a call in microseconds. */
  private double sample(MeasuredOperation operation, Buffers buffers, int calls)
      throws InterruptedException {
    world.barrier().await();
    long start = System.nanoTime();
    for (int call = 0; call < calls; call++) {
      start(operation, buffers).await();
    }
    return (System.nanoTime() - start) / 1e3 / calls;
  }

  private static int callsInASample(long bytes) {
    return (int) Math.max(1, Math.min(MOST_CALLS_IN_A_SAMPLE, SMALL_BYTES / Math.max(1, bytes)));
  }

  private static int samples(long bytes) {
    return bytes <= SMALL_BYTES ? 100 : (int) Math.max(7, Math.min(30, (1L << 30) / bytes));
  }

  private Work start(MeasuredOperation operation, Buffers buffers) {
    Tensor whole = buffers.whole();
    Tensor own = buffers.own();
    boolean isRoot = world.rank() == ROOT;
    return switch (operation) {
      case ALL_REDUCE -> world.allReduce(whole, ReduceOperation.SUM);
      case REDUCE_SCATTER -> world.reduceScatter(whole, own, ReduceOperation.SUM);
      case ALL_GATHER -> world.allGather(own, whole);
      case BROADCAST -> world.broadcast(whole, ROOT);
      case REDUCE -> world.reduce(whole, ReduceOperation.SUM, ROOT);
      case GATHER -> world.gather(own, isRoot ? whole : null, ROOT);
      case SCATTER -> world.scatter(isRoot ? whole : null, own, ROOT);
      case ALL_TO_ALL -> world.allToAll(whole, buffers.other());
      case SEND_RECEIVE -> world.exchange(aroundTheRing(buffers));
    };
  }

  private List<PointToPoint> aroundTheRing(Buffers buffers) {
    int ranks = world.size();
    return ranks == 1
        ? List.of()
        : List.of(
            new PointToPoint.Send(buffers.whole(), (world.rank() + 1) % ranks, 0),
            new PointToPoint.Receive(buffers.other(), (world.rank() + ranks - 1) % ranks, 0));
  }

  /** Runs the operation once on known values; the number of wrong elements on all ranks. */
  private long check(Arena arena, MeasuredOperation operation, Buffers buffers)
      throws InterruptedException {
    Tensor whole = buffers.whole();
    Tensor own = buffers.own();
    int rank = world.rank();
    int ranks = world.size();
    long part = own.elementCount();
    fill(arena, whole, index -> operation.isReduction() ? addend(rank, index) : value(rank, index));
    if (operation == MeasuredOperation.SEND_RECEIVE) {
      fill(arena, buffers.other(), index -> value(rank, index)); // what one rank alone still has
    } else {
      fill(arena, own, index -> value(rank, rank * part + index));
    }
    start(operation, buffers).await();
    long wrong =
        switch (operation) {
          case ALL_REDUCE -> wrong(arena, whole, index -> sum(ranks, index));
          case REDUCE ->
              wrong(arena, whole, index -> rank == ROOT ? sum(ranks, index) : addend(rank, index));
          case REDUCE_SCATTER -> wrong(arena, own, index -> sum(ranks, rank * part + index));
          case ALL_GATHER -> wrong(arena, whole, index -> value(owner(index, part), index));
          case GATHER ->
              rank == ROOT ? wrong(arena, whole, index -> value(owner(index, part), index)) : 0;
          case SCATTER -> wrong(arena, own, index -> value(ROOT, rank * part + index));
          case BROADCAST -> wrong(arena, whole, index -> value(ROOT, index));
          case ALL_TO_ALL ->
              wrong(
                  arena,
                  buffers.other(),
                  index -> value(owner(index, part), rank * part + index % Math.max(1, part)));
          case SEND_RECEIVE ->
              wrong(arena, buffers.other(), index -> value((rank + ranks - 1) % ranks, index));
        };
    try (Tensor total = arena.allocate(DType.FLOAT64, 1)) {
      doubles(total).put(0, wrong);
      world.allReduce(total, ReduceOperation.SUM).await();
      return (long) doubles(total).get(0);
    }
  }

  /** The rank whose part an element is in. */
  private static int owner(long index, long part) {
    return (int) (index / Math.max(1, part));
  }

  /** Small whole numbers, exact in every type. */
  private static double value(int rank, long index) {
    return (index * 7 + rank * 3L) % 5;
  }

  /**
   * What a rank adds to a sum: so that it is exact in every type, in whatever order it is made,
   * ranks after the first ones add nothing.
   */
  private static double addend(int rank, long index) {
    return rank < MOST_THAT_ADD ? value(rank, index) : 0;
  }

  private static double sum(int ranks, long index) {
    double sum = 0;
    for (int rank = 0; rank < ranks; rank++) {
      sum += addend(rank, index);
    }
    return sum;
  }

  private static void fill(Arena arena, Tensor tensor, LongToDoubleFunction value) {
    inChunks(
        arena,
        tensor,
        (some, chunk, start) -> {
          DoubleBuffer values = doubles(chunk);
          for (int i = 0; i < values.capacity(); i++) {
            values.put(i, value.applyAsDouble(start + i));
          }
          arena.engine().copy(chunk, some);
          arena.engine().synchronize(Device.CPU);
        });
  }

  private static long wrong(Arena arena, Tensor tensor, LongToDoubleFunction expected) {
    long[] wrong = {0};
    inChunks(
        arena,
        tensor,
        (some, chunk, start) -> {
          arena.engine().copy(some, chunk);
          arena.engine().synchronize(Device.CPU);
          DoubleBuffer values = doubles(chunk);
          for (int i = 0; i < values.capacity(); i++) {
            if (values.get(i) != expected.applyAsDouble(start + i)) {
              wrong[0]++;
            }
          }
        });
    return wrong[0];
  }

  /** A run of a tensor's elements, and as many FLOAT64 to work with. */
  private interface ChunkAction {
    void run(Tensor some, Tensor chunk, long start);
  }

  private static void inChunks(Arena arena, Tensor tensor, ChunkAction action) {
    try (Tensor memory = arena.allocate(DType.FLOAT64, CHUNK)) {
      for (long start = 0; start < tensor.elementCount(); start += CHUNK) {
        long length = Math.min(CHUNK, tensor.elementCount() - start);
        try (Tensor some = tensor.slice(0, start, length);
            Tensor chunk = memory.slice(0, 0, length)) {
          action.run(some, chunk, start);
        }
      }
    }
  }

  private static DoubleBuffer doubles(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asDoubleBuffer();
  }

  private static double quantile(double[] values, double quantile) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[(int) (quantile * (sorted.length - 1) + 0.5)];
  }
}
