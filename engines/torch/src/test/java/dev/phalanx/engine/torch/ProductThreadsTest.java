package dev.phalanx.engine.torch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products are computed in the thread that asks for them: the libraries start none. */
class ProductThreadsTest {
  private static final String NAME = "asks-products"; // Linux keeps 15 letters

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void aProductStartsNoThread(DType dtype) throws Exception {
    CompletableFuture<Long> threads = new CompletableFuture<>();
    Thread asking =
        new Thread(
            () -> {
              try {
                threads.complete(threadsAfterAProduct(dtype));
              } catch (Throwable e) {
                threads.completeExceptionally(e);
              }
            },
            NAME);
    asking.start();
    assertThat(threads.get(60, TimeUnit.SECONDS)).isEqualTo(1);
    asking.join();
  }

  private static long threadsAfterAProduct(DType dtype) throws IOException {
    try (Engine engine = new TorchEngineProvider().open(EngineOptions.singleThreaded());
        Arena arena = new Arena(engine, Device.CPU)) {
      Tensor a = arena.allocate(dtype, 512, 512);
      Tensor product = arena.allocate(dtype, 512, 512);
      engine.fill(a, 1);
      engine.matmul(a, true, a, false, product, 1, false);
    }
    // OpenMP's threads have the name of the one that starts them.
    try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
      return tasks.filter(task -> name(task).equals(NAME)).count();
    }
  }

  private static String name(Path task) {
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
