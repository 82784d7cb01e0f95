package dev.phalanx.integration;

import dev.phalanx.launcher.command.Main;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/** Runs the {@code phalanx} command as a user does: in a process of its own, in a folder. */
final class Command {
  private static final long DEADLINE_SECONDS = 120;

  /** How a command ended and what it wrote. */
  record Outcome(int status, String output, String error) {}

  private final Path folder;
  private final Map<String, String> environment = new TreeMap<>();

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

  /** Runs to the end; no process is left, whatever happens. */
  Outcome run(String... arguments) throws IOException, InterruptedException {
    try (Started started = start(arguments)) {
      return started.await();
    }
  }

  Started start(String... arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-XX:+UseSerialGC");
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(Main.class.getName());
    command.addAll(List.of(arguments));
    File output = Files.createTempFile(folder, "stdout", ".txt").toFile();
    File error = Files.createTempFile(folder, "stderr", ".txt").toFile();
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectOutput(output)
            .redirectError(error);
    builder.environment().remove("MASTER_PORT");
    builder.environment().putAll(environment);
    return new Started(builder.start(), output.toPath(), error.toPath());
  }

  /** A command under way. */
  static final class Started implements AutoCloseable {
    private final Process process;
    private final Path output;
    private final Path error;

    private Started(Process process, Path output, Path error) {
      this.process = process;
      this.output = output;
      this.error = error;
    }

    ProcessHandle handle() {
      return process.toHandle();
    }

    String errorSoFar() throws IOException {
      return Files.readString(error, StandardCharsets.UTF_8);
    }

    Outcome await() throws IOException, InterruptedException {
      if (!process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS)) {
        throw new AssertionError(
            "the command has not ended within " + DEADLINE_SECONDS + " s: " + errorSoFar());
      }
      return new Outcome(
          process.exitValue(),
          Files.readString(output, StandardCharsets.UTF_8),
          Files.readString(error, StandardCharsets.UTF_8));
    }

    @Override
    public void close() {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }
}
