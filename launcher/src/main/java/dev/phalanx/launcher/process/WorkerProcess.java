package dev.phalanx.launcher.process;

import dev.phalanx.launcher.event.EventCodec;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * One worker process with its three threads: standard output carries events, standard error lines
 * of log, and a waiter reports the end after both have been read. Standard input is the control
 * channel: its end tells the worker that the launcher is gone.
 */
final class WorkerProcess {
  /**
   * A grandchild may keep a pipe open; the worker's end is not held up by it for longer than this.
   */
  private static final long READERS_JOIN_MILLIS = 500;

  /**
   * A worker that ended well has told its results: they are read to the end, even where this host
   * is so busy that it takes a while.
   */
  private static final long RESULTS_JOIN_MILLIS = 30_000;

  private final WorkerSpec spec;
  private final Process process;
  private final WorkerLog log;
  private final BlockingQueue<Notice> notices;
  private final OutputStream control;
  private volatile String lastLine = "";
  private boolean isAssigned;
  private boolean isStopAsked;

  private WorkerProcess(
      WorkerSpec spec, Process process, WorkerLog log, BlockingQueue<Notice> notices) {
    this.spec = spec;
    this.process = process;
    this.log = log;
    this.notices = notices;
    this.control = process.getOutputStream();
  }

  static WorkerProcess start(WorkerSpec spec, WorkerLog log, BlockingQueue<Notice> notices)
      throws IOException {
    ProcessBuilder builder = new ProcessBuilder(spec.command());
    builder.environment().putAll(spec.environment());
    WorkerProcess worker = new WorkerProcess(spec, builder.start(), log, notices);
    worker.startThreads();
    return worker;
  }

  private void startThreads() {
    String prefix = prefix();
    Thread output =
        daemon(
            "stdout",
            () ->
                new LineSplitter(line -> log.line(prefix + line), json -> heard(json, log, prefix))
                    .readAll(process.getInputStream()));
    Thread error =
        daemon(
            "stderr",
            () ->
                new LineSplitter(
                        line -> logged(line, log, prefix),
                        line -> logged(LineSplitter.printable(line), log, prefix))
                    .readAll(process.getErrorStream()));
    output.start();
    error.start();
    daemon("waiter", () -> awaitEnd(output, error)).start();
  }

  private Thread daemon(String task, Runnable work) {
    Thread thread = new Thread(work, spec.label().replace(' ', '-') + "-" + task);
    thread.setDaemon(true);
    return thread;
  }

  private void logged(String line, WorkerLog log, String prefix) {
    if (!line.isBlank()) {
      lastLine = line;
    }
    log.line(prefix + line);
  }

  private void heard(String json, WorkerLog log, String prefix) {
    EventCodec.decode(json)
        .ifPresentOrElse(
            event -> put(new Notice.Heard(this, event)),
            () -> log.line(prefix + LineSplitter.printable(json)));
  }

  private void awaitEnd(Thread output, Thread error) {
    try {
      int code = process.waitFor();
      output.join(code == 0 ? RESULTS_JOIN_MILLIS : READERS_JOIN_MILLIS);
      error.join(READERS_JOIN_MILLIS);
      notices.put(new Notice.Ended(this, code));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void put(Notice notice) {
    try {
      notices.put(notice);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Gives the worker the first line of its standard input. */
  void assign(String line) {
    synchronized (control) { // the watching thread and the one that handles signals both write
      tell(line);
      isAssigned = true;
      if (isStopAsked) {
        tell("stop");
      }
    }
  }

  /** Asks for a stop after the step; before the assignment it is kept until after it. */
  void requestStop() {
    synchronized (control) { // see assign
      isStopAsked = true;
      if (isAssigned) {
        tell("stop");
      }
    }
  }

  /**
   * Asks for what its threads do, in its log: the worker itself, which before the assignment does
   * not listen; its JVM, which may be up where the worker's own code is not; the host, which knows
   * of a process that does not answer at all.
   */
  void askWhere() {
    HostThreads.lines(process.pid()).forEach(line -> logged(line, log, prefix()));
    synchronized (control) { // see assign
      if (isAssigned) {
        tell("where");
      }
    }
    HostThreads.askForDump(process.pid());
  }

  private String prefix() {
    return "[" + spec.label() + "] ";
  }

  /** A worker that is gone does not read the line: its end is noticed elsewhere. */
  private void tell(String line) {
    try {
      control.write((line + "\n").getBytes(StandardCharsets.UTF_8));
      control.flush();
    } catch (IOException e) {
      // The pipe's reader is gone, and so is the worker.
    }
  }

  /** Asks the process to end now. */
  void end() {
    process.descendants().forEach(ProcessHandle::destroy);
    process.destroy();
  }

  void kill() {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
  }

  boolean isAlive() {
    return process.isAlive();
  }

  /** Whether the process has ended within the time. */
  boolean awaitEnd(long millis) throws InterruptedException {
    return process.waitFor(millis, TimeUnit.MILLISECONDS);
  }

  long pid() {
    return process.pid();
  }

  List<Integer> ranks() {
    return spec.ranks();
  }

  String label() {
    return spec.label();
  }

  /** The last line of its standard error that was not blank; empty if there was none. */
  String lastLine() {
    return lastLine;
  }
}
