package dev.phalanx.integration;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Predicate;

/** Runs the {@code phalanx} command as a user does: in a process of its own, in a folder. */
final class Command {
  private static final long DEADLINE_SECONDS = 120;

  /** How a command ended and what it wrote. */
  record Outcome(int status, String output, String error) {}

  private final Path folder;
  private final Map<String, String> environment = new TreeMap<>();
  private final List<String> prefix = new ArrayList<>();

  private Command(Path folder) {
    this.folder = folder;
  }

  static Command in(Path folder) {
    return new Command(folder);
  }

  Command with(String variable, String value) {
    environment.put(variable, value);
    return this;
  }

  /** Lets every write beyond so many KiB of a file fail. */
  Command withFilesUpTo(long kibibytes) {
    return by(List.of("bash", "-c", "ulimit -f " + kibibytes + "; exec \"$0\" \"$@\""));
  }

  /** Runs it by another command, which gets it behind its own arguments. */
  Command by(List<String> runner) {
    prefix.addAll(runner);
    return this;
  }

  /** Runs to the end; no process is left, whatever happens. */
  Outcome run(String... arguments) throws Exception {
    try (Started started = start(arguments)) {
      return started.await();
    }
  }

  Started start(String... arguments) throws IOException {
    List<String> command = new ArrayList<>(prefix);
    command.addAll(ClassArchives.commandWithArchives());
    command.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
    builder.environment().remove("MASTER_PORT");
    builder.environment().putAll(environment);
    return new Started(builder.start());
  }

  /** A command under way. */
  static final class Started implements AutoCloseable {
    private final Process process;
    private final Lines output;
    private final Lines error;

    private Started(Process process) {
      this.process = process;
      this.output = new Lines(process.getInputStream());
      this.error = new Lines(process.getErrorStream());
    }

    ProcessHandle handle() {
      return process.toHandle();
    }

    /**
     * The worker processes by rank, once there are so many. What else the launcher runs, briefly,
     * is none.
     */
    List<ProcessHandle> workers(int count) {
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_SECONDS);
      while (true) {
        // The launcher starts ranks in their order; process identifiers follow it.
        List<ProcessHandle> workers = process.children().filter(Started::isJava).sorted().toList();
        if (workers.size() == count) {
          return workers;
        }
        if (System.nanoTime() > end || !process.isAlive()) {
          throw new AssertionError(
              "the command has " + workers.size() + " workers, not " + count + ": " + error);
        }
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(1));
      }
    }

    private static boolean isJava(ProcessHandle process) {
      return process.info().command().filter(path -> path.endsWith("/java")).isPresent();
    }

    /** Waits for a line on standard error. */
    String awaitErrorLine(Predicate<String> wanted) throws InterruptedException {
      return error.await(wanted);
    }

    Outcome await() throws Exception {
      if (!process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS)) {
        throw new AssertionError(
            "the command has not ended within " + DEADLINE_SECONDS + " s: " + error);
      }
      return new Outcome(process.exitValue(), output.all(), error.all());
    }

    @Override
    public void close() {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }

  /** What a process writes to one of its streams, as it comes. */
  private static final class Lines {
    private final StringBuilder text = new StringBuilder();
    private final List<String> lines = new ArrayList<>();
    private final CompletableFuture<String> all = new CompletableFuture<>();

    Lines(InputStream stream) {
      Thread thread = new Thread(() -> read(stream), "output of a command");
      thread.setDaemon(true);
      thread.start();
    }

    private void read(InputStream stream) {
      try (BufferedReader reader =
          new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
        String line;
        while ((line = reader.readLine()) != null) {
          add(line);
        }
        all.complete(toString());
      } catch (IOException e) {
        all.completeExceptionally(new UncheckedIOException(e));
      }
    }

    private synchronized void add(String line) {
      text.append(line).append('\n');
      lines.add(line);
      notifyAll();
    }

    synchronized String await(Predicate<String> wanted) throws InterruptedException {
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_SECONDS);
      for (int next = 0; ; next++) {
        while (next == lines.size()) {
          long millis = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
          if (millis <= 0) {
            throw new AssertionError("the line has not come: " + text);
          }
          wait(millis);
        }
        if (wanted.test(lines.get(next))) {
          return lines.get(next);
        }
      }
    }

    String all() throws Exception {
      return all.get(DEADLINE_SECONDS, TimeUnit.SECONDS);
    }

    @Override
    public synchronized String toString() {
      return text.toString();
    }
  }
}
