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
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** More elements than an {@code int} counts: copy, cast, fill and sum. Takes 7 GB for a moment. */
@Tag("long")
public abstract class LargeTensorConformance {
  static final long COUNT = (1L << 31) + 17;
  private static final long NEEDED_BYTES = 16L << 30;

  /** The engine to check. */
  protected abstract EngineProvider provider();

  /** Elements of a tensor. */
  protected long count() {
    return COUNT;
  }

  @Test
  void moreThanTwoToThe31Elements() throws IOException {
    long available = availableBytes();
    assumeTrue(
        count() < COUNT || available >= NEEDED_BYTES,
        "needs "
            + NEEDED_BYTES
            + " bytes of available memory, so that the 7 GB it takes disturb nobody; there are "
            + available);
    long count = count();
    try (Engine engine = provider().open(EngineOptions.singleThreaded());
        Arena arena = new Arena(engine, Numbers.deviceOf(engine))) {
      Tensor bytes = arena.allocate(DType.UINT8, count);
      engine.fill(bytes, 3);
      engine.fill(bytes.slice(0, count - 1, 1), 200);

      Tensor cast = arena.allocate(DType.BFLOAT16, count);
      engine.copy(bytes, cast);
      assertThat(element(engine, cast, count - 1)).isEqualTo(200);
      assertThat(element(engine, cast, count - 2)).isEqualTo(3);

      engine.fill(bytes, 0);
      engine.copy(cast, bytes);
      assertThat(element(engine, bytes, count - 1)).isEqualTo(200);
      assertThat(element(engine, bytes, count - 2)).isEqualTo(3);

      Tensor sum = arena.allocate(DType.FLOAT64, 1);
      engine.sum(cast, sum);
      assertThat(element(engine, sum, 0)).isEqualTo(3.0 * (count - 1) + 200);
      engine.sum(bytes, sum);
      assertThat(element(engine, sum, 0)).isEqualTo(3.0 * (count - 1) + 200);
    }
  }

  private static double element(Engine engine, Tensor tensor, long index) {
    try (Tensor one = tensor.slice(0, index, 1)) {
      return Numbers.read(engine, one)[0];
    }
  }

  private static long availableBytes() throws IOException {
    Path file = Path.of("/proc/meminfo");
    if (!Files.exists(file)) {
      return 0;
    }
    try (Stream<String> lines = Files.lines(file)) {
      return lines
          .filter(line -> line.startsWith("MemAvailable:"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")) << 10)
          .findFirst()
          .orElse(0);
    }
  }
}
