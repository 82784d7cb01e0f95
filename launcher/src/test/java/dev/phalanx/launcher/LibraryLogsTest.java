package dev.phalanx.launcher;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A user reads Phalanx's words about a dead peer, not a library's stack trace. */
final class LibraryLogsTest {
  private final Level rootLevel = LogManager.getLogManager().getLogger("").getLevel();

  @AfterEach
  void restore() {
    LogManager.getLogManager().getLogger("").setLevel(rootLevel);
    Logger.getLogger("io.grpc").setLevel(null);
    Logger.getLogger("io.netty").setLevel(null);
  }

  @Test
  void onlyErrorsOfTheNetworkLibrariesAreWritten() {
    LibraryLogs.keepWarningsOnly();
    // Levels that hang on a logger nobody holds vanish with it.
    System.gc();
    for (String library : new String[] {"io.grpc.netty.NettyServerHandler", "io.netty.channel"}) {
      assertThat(Logger.getLogger(library).isLoggable(Level.WARNING)).as(library).isFalse();
      assertThat(Logger.getLogger(library).isLoggable(Level.SEVERE)).as(library).isTrue();
    }
    Logger ours = Logger.getLogger("dev.phalanx.launcher");
    assertThat(ours.isLoggable(Level.INFO)).isFalse();
    assertThat(ours.isLoggable(Level.WARNING)).isTrue();
  }
}
