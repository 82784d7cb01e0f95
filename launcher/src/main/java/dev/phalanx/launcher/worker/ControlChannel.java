package dev.phalanx.launcher.worker;

import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.AssignmentCodec;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Consumer;

/**
 * The launcher's end of a worker's standard input. The first line is the assignment; a line {@code
 * stop} asks for a stop after the step, {@code where} for what every thread does; the end of the
 * stream means that the launcher is gone, whichever way it went. A thread of its own listens, so
 * that a worker whose other threads are busy in native code hears it too.
 */
final class ControlChannel {
  private final CompletableFuture<Assignment> assignment = new CompletableFuture<>();
  private volatile boolean isStopRequested;

  private ControlChannel() {}

  /**
   * @param launcherLost what to do at the end of the stream; it gets the assignment if that has
   *     come
   */
  static ControlChannel listen(InputStream input, Consumer<Optional<Assignment>> launcherLost) {
    ControlChannel channel = new ControlChannel();
    Thread thread = new Thread(() -> channel.read(input, launcherLost), "launcher-watch");
    thread.setDaemon(true);
    thread.setPriority(Thread.MAX_PRIORITY);
    thread.start();
    return channel;
  }

  /** The assignment, once it is there. */
  Assignment assignment() throws InterruptedException {
    try {
      return assignment.get();
    } catch (ExecutionException e) {
      throw new IllegalArgumentException("The launcher's first line is no assignment", e);
    }
  }

  /** As the launcher's {@code stop}. */
  void requestStop() {
    isStopRequested = true;
  }

  boolean isStopRequested() {
    return isStopRequested;
  }

  private void read(InputStream input, Consumer<Optional<Assignment>> launcherLost) {
    Optional<Assignment> come = Optional.empty();
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(input, StandardCharsets.UTF_8))) {
      String first = lines.readLine();
      if (first != null) {
        come = decode(first);
        String line;
        while ((line = lines.readLine()) != null) {
          switch (line) {
            case "stop" -> requestStop();
            case "where" -> tellWhere();
            default -> {
              // A launcher of the same version says nothing else.
            }
          }
        }
      }
    } catch (IOException e) {
      // As good as the end of the stream.
    }
    launcherLost.accept(come);
  }

  /** Into the log: a rank that is late may hang where only this shows it. */
  private static void tellWhere() {
    StringBuilder threads = new StringBuilder("this rank has not joined. What its threads do:\n");
    Thread.getAllStackTraces()
        .forEach(
            (thread, frames) -> {
              threads.append(thread.getName()).append(", ").append(thread.getState()).append('\n');
              for (StackTraceElement frame : frames) {
                threads.append("    at ").append(frame).append('\n');
              }
            });
    System.err.print(threads);
    System.err.flush();
  }

  private Optional<Assignment> decode(String line) {
    try {
      Assignment come = AssignmentCodec.decode(line);
      assignment.complete(come);
      return Optional.of(come);
    } catch (IllegalArgumentException e) {
      assignment.completeExceptionally(e);
      return Optional.empty();
    }
  }
}
