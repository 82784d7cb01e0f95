package dev.phalanx.tensor;

/**
 * How a rank opens its engine.
 *
 * @param threads threads that one kernel may use on a CPU, the calling one among them; at least 1.
 *     Each engine has its own.
 */
public record EngineOptions(int threads) {
  public EngineOptions {
    if (threads < 1) {
      throw new IllegalArgumentException("An engine needs at least one thread, not " + threads);
    }
  }

  public static EngineOptions singleThreaded() {
    return new EngineOptions(1);
  }
}
