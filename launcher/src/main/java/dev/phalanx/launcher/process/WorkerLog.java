package dev.phalanx.launcher.process;

/** Takes the lines that workers write. Called from many threads. */
@FunctionalInterface
public interface WorkerLog {
  void line(String line);
}
