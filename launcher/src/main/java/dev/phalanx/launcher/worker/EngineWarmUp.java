package dev.phalanx.launcher.worker;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;

/**
 * Loads an engine's native libraries while the worker waits for its assignment and the other ranks.
 * What fails here fails again, with a message, when the job opens its engine.
 */
final class EngineWarmUp {
  private EngineWarmUp() {}

  static void start(String engine, int threads) {
    Thread thread = new Thread(() -> load(engine, threads), "engine-warm-up");
    thread.setDaemon(true);
    thread.setUncaughtExceptionHandler((ignored, thrown) -> {});
    thread.start();
  }

  private static void load(String engine, int threads) {
    Engine opened = Engines.open(engine, new EngineOptions(threads));
    opened.close();
  }
}
