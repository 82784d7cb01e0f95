package dev.phalanx.launcher.bench;

import dev.phalanx.collectives.Communicator;
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
import java.nio.DoubleBuffer;
import java.util.Arrays;
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
  private static final long CHUNK = 1 << 18;
  private static final long ALIGNMENT = 4096;

  private final Communicator world;
  private final BenchmarkOptions options;
  private final BooleanSupplier stopRequested;
  private Optional<Storage> shared = Optional.empty();

  /**
   * @param stopRequested asked before each measurement
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
          rows.accept(measure(arena, operation, bytes));
          arena.trim();
        }
      }
    }
  }

  private boolean anyRankWantsToStop(Arena arena) throws InterruptedException {
    try (Tensor vote = arena.allocate(DType.FLOAT64, 1)) {
      doubles(vote).put(0, stopRequested.getAsBoolean() ? 1 : 0);
      world.allReduce(vote, ReduceOperation.MAXIMUM).await();
      return doubles(vote).get(0) > 0;
    }
  }

  private BenchmarkRow measure(Arena arena, MeasuredOperation operation, long bytes)
      throws InterruptedException {
    int ranks = world.size();
    long part = bytes / options.dtype().byteSize() / ranks;
    try (Tensor whole = memory(arena, 0, part * ranks);
        Tensor own = memory(arena, ALIGNMENT + bytes / ALIGNMENT * ALIGNMENT, part)) {
      long wrong = check(arena, operation, whole, own);
      arena.engine().fill(whole, 0);
      arena.engine().fill(own, 0);
      double[] samples = time(arena, operation, whole, own);
      double median = quantile(samples, 0.5);
      double bandwidth = median > 0 ? whole.byteSize() / median / 1e3 : 0; // B / us to GB / s
      boolean isReduced =
          operation == MeasuredOperation.ALL_REDUCE
              || operation == MeasuredOperation.REDUCE_SCATTER;
      return new BenchmarkRow(
          operation.label(),
          whole.byteSize(),
          whole.elementCount(),
          options.dtype().name().toLowerCase(Locale.ROOT),
          isReduced ? "sum" : "none",
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
          wrong);
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

  private double[] time(Arena arena, MeasuredOperation operation, Tensor whole, Tensor own)
      throws InterruptedException {
    int samples = options.samples() > 0 ? options.samples() : samples(whole.byteSize());
    int calls =
        (int)
            Math.max(
                1, Math.min(MOST_CALLS_IN_A_SAMPLE, SMALL_BYTES / Math.max(1, whole.byteSize())));
    try (Tensor micros = arena.allocate(DType.FLOAT64, samples)) {
      DoubleBuffer values = doubles(micros);
      int warmup = options.warmup() >= 0 ? options.warmup() : warmup(whole.byteSize());
      for (int sample = -warmup; sample < samples; sample++) {
        world.barrier().await();
        long start = System.nanoTime();
        for (int call = 0; call < calls; call++) {
          start(operation, whole, own).await();
        }
        double elapsed = (System.nanoTime() - start) / 1e3 / calls;
        if (sample >= 0) {
          values.put(sample, elapsed);
        }
      }
      world.allReduce(micros, ReduceOperation.MAXIMUM).await();
      double[] slowest = new double[samples];
      values.get(0, slowest);
      return slowest;
    }
  }

  private static int samples(long bytes) {
    return bytes <= SMALL_BYTES ? 100 : (int) Math.max(7, Math.min(30, (1L << 30) / bytes));
  }

  /** Until the JVM has compiled what runs: some thousand small calls, some hundred messages. */
  private static int warmup(long bytes) {
    return bytes <= SMALL_BYTES ? 500 : (int) Math.max(5, Math.min(100, (1L << 29) / bytes));
  }

  private Work start(MeasuredOperation operation, Tensor whole, Tensor own) {
    return switch (operation) {
      case ALL_REDUCE -> world.allReduce(whole, ReduceOperation.SUM);
      case REDUCE_SCATTER -> world.reduceScatter(whole, own, ReduceOperation.SUM);
      case ALL_GATHER -> world.allGather(own, whole);
      case BROADCAST -> world.broadcast(whole, 0);
    };
  }

  /** Runs the operation once on known values; the number of wrong elements on all ranks. */
  private long check(Arena arena, MeasuredOperation operation, Tensor whole, Tensor own)
      throws InterruptedException {
    int rank = world.rank();
    int ranks = world.size();
    long part = own.elementCount();
    fill(arena, whole, index -> value(rank, index));
    fill(arena, own, index -> value(rank, rank * part + index));
    start(operation, whole, own).await();
    long wrong =
        switch (operation) {
          case ALL_REDUCE -> wrong(arena, whole, index -> sum(ranks, index));
          case REDUCE_SCATTER -> wrong(arena, own, index -> sum(ranks, rank * part + index));
          case ALL_GATHER ->
              wrong(arena, whole, index -> value((int) (index / Math.max(1, part)), index));
          case BROADCAST -> wrong(arena, whole, index -> value(0, index));
        };
    try (Tensor total = arena.allocate(DType.FLOAT64, 1)) {
      doubles(total).put(0, wrong);
      world.allReduce(total, ReduceOperation.SUM).await();
      return (long) doubles(total).get(0);
    }
  }

  /** Small whole numbers: exact in every type, in whatever order they are added. */
  private static double value(int rank, long index) {
    return (index * 7 + rank * 3L) % 5;
  }

  private static double sum(int ranks, long index) {
    double sum = 0;
    for (int rank = 0; rank < ranks; rank++) {
      sum += value(rank, index);
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
