package dev.phalanx.launcher.worker;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import java.io.IOException;
import java.nio.channels.ServerSocketChannel;

/**
 * Loads an engine's native libraries while the worker waits for its assignment and the other ranks.
 * What fails here fails again, with a message, when the job opens its engine.
 */
final class EngineWarmUp {
  private EngineWarmUp() {}

  /** Returns when the main thread opens no more native libraries until the job opens its engine. */
  static void start(String engine, int threads) {
    openNetworkLibraries();
    Thread thread = new Thread(() -> load(engine, threads), "engine-warm-up");
    thread.setDaemon(true);
    thread.setUncaughtExceptionHandler((ignored, thrown) -> {});
    thread.start();
  }

  /**
   * The JDK's, before the other thread begins: glibc locks up at times (seen with 2.36) where one
   * thread opens a library while another one looks a symbol up, as engines' libraries do.
   */
  private static void openNetworkLibraries() {
    try {
      ServerSocketChannel.open().close();
    } catch (IOException e) {
      // Whoever needs a socket next says what is wrong.
    }
  }

  private static void load(String engine, int threads) {
    Engine opened = Engines.open(engine, new EngineOptions(threads));
    opened.close();
  }
}
