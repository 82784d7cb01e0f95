package dev.phalanx.integration;

import dev.phalanx.launcher.command.Main;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Starts the command as the {@code phalanx} script does: with the classes as the JVM keeps them in
 * memory, for the launcher and for its workers, which then start in about half the time. The first
 * command of the tests' JVM lets them be written.
 */
final class ClassArchives {
  private static final long DEADLINE_SECONDS = 120;

  /** Two ranks that talk and train: all that most commands need. */
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 16, heads: 2, sequence: 16, vocab: 256}
      data: {kind: reference}
      batch: {global: 2, micro: 1}
      optimizer: {kind: adamw, lr: 1.0e-3}
      steps: 2
      threads: 1
      log: {report: report.json}
      """;

  private static final List<String> COMMAND = command();

  private ClassArchives() {}

  /** What the arguments of a command follow. */
  static List<String> commandWithArchives() {
    return COMMAND;
  }

  private static List<String> command() {
    // Without the folders of this module, of which no command knows.
    Path own = Path.of("").toAbsolutePath();
    List<Path> classPath =
        Stream.of(
                System.getProperty("java.class.path").split(Pattern.quote(File.pathSeparator), -1))
            .map(entry -> Path.of(entry).toAbsolutePath())
            .filter(entry -> !entry.startsWith(own))
            .collect(Collectors.toList());
    // A build that makes no jars leaves other folders, which the JVM does not archive.
    if (classPath.stream().anyMatch(Files::isDirectory)) {
      return java(List.of(), classPath);
    }
    try {
      String fork = System.getProperty("surefire.forkNumber", "1"); // tests run in several JVMs
      Path folder = Files.createDirectories(own.resolve("target/class-archives").resolve(fork));
      Path launcher = folder.resolve("launcher.jsa");
      Path worker = folder.resolve("worker-0.jsa"); // rank 0's has all that others need
      write(folder, launcher, classPath);
      return java(
          List.of("-XX:SharedArchiveFile=" + launcher, "-Dphalanx.archive=" + worker), classPath);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while the class archives are written", e);
    }
  }

  private static void write(Path folder, Path launcher, List<Path> classPath)
      throws IOException, InterruptedException {
    Files.writeString(folder.resolve("plan.yaml"), PLAN);
    List<String> command =
        new ArrayList<>(java(List.of("-XX:ArchiveClassesAtExit=" + launcher), classPath));
    command.addAll(List.of("train", "plan.yaml", "--workers", "2", "--quiet"));
    File log = folder.resolve("log").toFile();
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log);
    builder.environment().remove("MASTER_PORT");
    builder
        .environment()
        .put(
            "PHALANX_WORKER_JAVA_OPTIONS",
            "-XX:ArchiveClassesAtExit=" + folder.resolve("worker-{rank}.jsa"));
    Process process = builder.start();
    try {
      if (!process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS) || process.exitValue() != 0) {
        throw new IllegalStateException("no class archives: " + Files.readString(log.toPath()));
      }
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }

  private static List<String> java(List<String> options, List<Path> classPath) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-Xms32m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            "-Xlog:disable",
            "-Dio.netty.jfr.enabled=false"));
    command.addAll(options);
    command.add("-cp");
    command.add(
        classPath.stream().map(Path::toString).collect(Collectors.joining(File.pathSeparator)));
    command.add(Main.class.getName());
    return List.copyOf(command);
  }
}
