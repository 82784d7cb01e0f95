package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * An engine of one thread computes in the thread that calls, whichever that is; its libraries start
 * none of their own.
 */
public abstract class ThreadConformance {
  /** A name for each thread that asks: one that has ended may be listed for a moment. */
  private static final AtomicInteger ASKED = new AtomicInteger();

  private static final Path TASKS = Path.of("/proc/self/task");

  /** The engine to check. */
  protected abstract EngineProvider provider();

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void aKernelStartsNoThread(DType dtype) throws Exception {
    assumeTrue(Files.isDirectory(TASKS), "needs Linux, which lists the threads of a process");
    try (Engine engine = provider().open(EngineOptions.singleThreaded());
        Arena arena = new Arena(engine, Numbers.deviceOf(engine))) {
      assumeTrue(engine.supports(dtype), "the engine does not compute in " + dtype);
      Tensor a = arena.allocate(dtype, 512, 512);
      Tensor result = arena.allocate(dtype, 512, 512);
      engine.fill(a, 0.5);
      for (int thread = 0; thread < 2; thread++) {
        // The first kernel of each thread is the one that is asked about.
        assertThat(threadsAfter(() -> engine.matmul(a, true, a, false, result, 1, false)))
            .isEqualTo(1);
        assertThat(threadsAfter(() -> engine.gelu(a, result))).isEqualTo(1);
      }
    }
  }

  /** Threads of the name of one that runs a kernel: OpenMP's have that of whoever starts them. */
  private static long threadsAfter(Runnable kernel) throws Exception {
    CompletableFuture<Long> threads = new CompletableFuture<>();
    String name = "asks-" + ASKED.incrementAndGet(); // Linux keeps 15 letters
    Thread asking =
        new Thread(
            () -> {
              try {
                kernel.run();
                threads.complete(count(name));
              } catch (Throwable e) {
                threads.completeExceptionally(e);
              }
            },
            name);
    asking.start();
    long found = threads.get(60, TimeUnit.SECONDS);
    asking.join();
    return found;
  }

  private static long count(String name) throws IOException {
    try (Stream<Path> tasks = Files.list(TASKS)) {
      return tasks.filter(task -> nameOf(task).equals(name)).count();
    }
  }

  private static String nameOf(Path task) {
    try {
      return Files.readString(task.resolve("comm")).strip();
    } catch (IOException e) {
      if (Files.exists(task)) {
        throw new UncheckedIOException(e);
      }
      return ""; // it has ended
    }
  }
}
