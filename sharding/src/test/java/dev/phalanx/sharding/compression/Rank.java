package dev.phalanx.sharding.compression;

import static java.util.concurrent.TimeUnit.SECONDS;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** One rank of a group whose ranks are threads, with an engine and an arena of its own. */
record Rank(Arena arena, Communicator communicator) {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  /** One rank's part of a test. */
  interface Body<T> {
    T run(Rank rank) throws Exception;
  }

  /** Runs every rank on a thread of its own and gives the results in order. */
  static <T> List<T> runAll(int size, Body<T> body) throws Exception {
    return runAll(size, Algorithm.AUTO, body);
  }

  static <T> List<T> runAll(int size, Algorithm algorithm, Body<T> body) throws Exception {
    InProcessGroups groups = new InProcessGroups(size, new GroupOptions(algorithm, PATIENCE, 1));
    ExecutorService threads = Executors.newCachedThreadPool();
    List<Communicator> communicators = new ArrayList<>();
    try {
      for (int rank = 0; rank < size; rank++) {
        communicators.add(groups.ofRank(rank).world());
      }
      List<Future<T>> futures = new ArrayList<>();
      for (Communicator communicator : communicators) {
        futures.add(threads.submit(() -> run(communicator, body)));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : futures) {
        results.add(future.get(PATIENCE.toSeconds(), SECONDS));
      }
      return results;
    } finally {
      communicators.forEach(Communicator::close);
      threads.shutdownNow();
    }
  }

  private static <T> T run(Communicator communicator, Body<T> body) throws Exception {
    try (Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
        Arena arena = new Arena(engine, Device.CPU)) {
      return body.run(new Rank(arena, communicator));
    }
  }

  int number() {
    return communicator.rank();
  }

  /** This rank's codec for a bucket of one parameter. */
  CompressedReduction reduction(Compression compression, long... shape) {
    return compression.reduction(arena, communicator, List.of(Shape.of(shape)));
  }

  /** A tensor of these values. */
  Tensor tensor(float... values) {
    Tensor tensor = arena.allocate(DType.FLOAT32, values.length);
    new HostMemory(tensor).write(0, values, values.length);
    return tensor;
  }

  /** A part of a codec's state that it has. */
  static Tensor state(CompressedReduction reduction, String name) {
    return Objects.requireNonNull(reduction.state().get(name), name);
  }

  static float[] read(Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.elementCount())];
    new HostMemory(tensor).read(0, values, values.length);
    return values;
  }

  /** Reduces this rank's gradients in one step. */
  float[] reduce(CompressedReduction reduction, long step, float... gradients)
      throws InterruptedException {
    try (Tensor tensor = tensor(gradients)) {
      reduction.start(tensor, step);
      reduction.finish();
      return read(tensor);
    }
  }
}
