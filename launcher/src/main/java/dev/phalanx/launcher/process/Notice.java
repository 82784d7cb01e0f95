package dev.phalanx.launcher.process;

import dev.phalanx.launcher.event.WorkerEvent;

/** What the watching thread hears from the others. */
sealed interface Notice {
  record Heard(WorkerProcess worker, WorkerEvent event) implements Notice {}

  /** The process is gone and what it wrote has been read. */
  record Ended(WorkerProcess worker, int code) implements Notice {}
}
