package dev.phalanx.launcher;

import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;

/** What libraries write to the JDK's own logging, gRPC above all. */
public final class LibraryLogs {
  private LibraryLogs() {}

  /** Keeps all but warnings off standard error. */
  public static void keepWarningsOnly() {
    Logger root = LogManager.getLogManager().getLogger("");
    if (root != null) {
      root.setLevel(Level.WARNING);
    }
  }
}
