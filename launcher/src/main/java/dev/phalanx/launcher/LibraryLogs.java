package dev.phalanx.launcher;

import java.util.List;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;

/** What libraries write to the JDK's own logging, gRPC above all. */
public final class LibraryLogs {
  /**
   * Libraries that hand every failure of a call to the caller, whose message names it. What they
   * log beside that is the stack trace of a connection that a dead peer closed. The loggers are
   * held here because the JDK holds them weakly, their levels with them.
   */
  private static final List<Logger> REPORTED_BY_THE_CALLER =
      List.of(Logger.getLogger("io.grpc"), Logger.getLogger("io.netty"));

  private LibraryLogs() {}

  /** Lets only warnings through to standard error, and of gRPC and Netty only errors. */
  public static void keepWarningsOnly() {
    Logger root = LogManager.getLogManager().getLogger("");
    if (root != null) {
      root.setLevel(Level.WARNING);
    }
    REPORTED_BY_THE_CALLER.forEach(logger -> logger.setLevel(Level.SEVERE));
  }
}
