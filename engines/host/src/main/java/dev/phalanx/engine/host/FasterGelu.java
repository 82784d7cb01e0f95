package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * As much of GELU of FLOAT32 or BFLOAT16 numbers, and of its gradient, as oneDNN computes faster
 * than an engine does: whole pieces, or nothing. The rest is the engine's own. Kernels are made
 * when they are first asked for.
 */
public final class FasterGelu {
  private final @Nullable OneDnn library;
  private final Map<DType, Optional<OneDnnGelu>> kernels = new EnumMap<>(DType.class);

  /**
   * @param library none: there is nothing to gain
   */
  FasterGelu(@Nullable OneDnn library) {
    this.library = library;
  }

  /**
   * Writes GELU of the first of {@code count} numbers; in place too.
   *
   * @return how many numbers that were
   */
  public long forward(DType type, long x, long y, long count) {
    OneDnnGelu gelu = kernel(type);
    return gelu == null ? 0 : gelu.forward(x, y, count);
  }

  /**
   * Likewise its gradient: {@code dx = dy gelu'(x)}.
   *
   * @return how many numbers that were
   */
  public long backward(DType type, long dy, long x, long dx, long count) {
    OneDnnGelu gelu = kernel(type);
    return gelu == null ? 0 : gelu.backward(dy, x, dx, count);
  }

  private @Nullable OneDnnGelu kernel(DType type) {
    OneDnn present = library;
    if (present == null) {
      return null;
    }
    present.requireOpen();
    return kernels.computeIfAbsent(type, wanted -> OneDnnGelu.of(present, wanted)).orElse(null);
  }

  void close() {
    kernels.values().forEach(kernel -> kernel.ifPresent(OneDnnGelu::close));
    kernels.clear();
  }
}
