package dev.phalanx.tensor;

/**
 * How a rank opens its engine.
 *
 * @param threads threads that one kernel may use on a CPU, at least 1. Native libraries keep this
 *     once for a process, so ranks that are threads of one JVM must ask for the same number.
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
