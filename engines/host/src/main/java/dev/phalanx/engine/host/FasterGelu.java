package dev.phalanx.engine.host;

import org.jspecify.annotations.Nullable;

/**
 * As much of GELU of FLOAT32 numbers, and of its gradient, as oneDNN computes faster than an engine
 * does: whole pieces, or nothing. The rest is the engine's own. Kernels are made when they are
 * first asked for.
 */
public final class FasterGelu implements AutoCloseable {
  private final Runnable useOneThread;
  private @Nullable OneDnnGelu oneDnn;
  private boolean isAsked;
  private boolean isClosed;

  /**
   * @param useOneThread tells OpenMP that the thread which runs this works alone
   */
  public FasterGelu(Runnable useOneThread) {
    this.useOneThread = useOneThread;
  }

  /**
   * Writes GELU of the first of {@code count} numbers; in place too.
   *
   * @return how many numbers that were
   */
  public long forward(long x, long y, long count) {
    OneDnnGelu gelu = oneDnn();
    return gelu == null ? 0 : gelu.forward(x, y, count);
  }

  /**
   * Likewise its gradient: {@code dx = dy gelu'(x)}.
   *
   * @return how many numbers that were
   */
  public long backward(long dy, long x, long dx, long count) {
    OneDnnGelu gelu = oneDnn();
    return gelu == null ? 0 : gelu.backward(dy, x, dx, count);
  }

  private @Nullable OneDnnGelu oneDnn() {
    if (isClosed) {
      throw new IllegalStateException("An engine was used after it was closed");
    }
    if (!isAsked) {
      oneDnn = OneDnnGelu.open(useOneThread).orElse(null);
      isAsked = true;
    }
    return oneDnn;
  }

  @Override
  public void close() {
    isClosed = true;
    if (oneDnn != null) {
      oneDnn.close();
    }
  }
}
