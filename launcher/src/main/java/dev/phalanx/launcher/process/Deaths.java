package dev.phalanx.launcher.process;

import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import java.util.Map;

/** Words for a process that ended without telling why. */
final class Deaths {
  private static final int SIGNAL_BASE = 128;
  private static final int LARGEST_SIGNAL = 64;
  private static final int KILL = 9;
  private static final Map<Integer, String> SIGNALS =
      Map.ofEntries(
          Map.entry(1, "SIGHUP"),
          Map.entry(2, "SIGINT"),
          Map.entry(3, "SIGQUIT"),
          Map.entry(4, "SIGILL"),
          Map.entry(6, "SIGABRT"),
          Map.entry(7, "SIGBUS"),
          Map.entry(8, "SIGFPE"),
          Map.entry(KILL, "SIGKILL"),
          Map.entry(11, "SIGSEGV"),
          Map.entry(13, "SIGPIPE"),
          Map.entry(15, "SIGTERM"),
          Map.entry(24, "SIGXCPU"),
          Map.entry(25, "SIGXFSZ"));

  private Deaths() {}

  /**
   * @param code as the JDK gives it: 128 + the signal's number where a signal ended the process
   * @param lastLine what it wrote last on standard error
   * @param isOutOfMemory whether the kernel killed a process for want of memory meanwhile
   */
  static Failure describe(int code, long pid, String lastLine, boolean isOutOfMemory) {
    if (code > SIGNAL_BASE && code <= SIGNAL_BASE + LARGEST_SIGNAL) {
      return bySignal(code - SIGNAL_BASE, pid, isOutOfMemory);
    }
    ExitStatus status =
        ExitStatus.ofCode(code)
            .filter(found -> found != ExitStatus.DONE)
            .orElse(ExitStatus.RANK_FAILED);
    return death(
        status,
        "the process ended with status "
            + code
            + " before its work was done"
            + (lastLine.isEmpty() ? "" : "; its last line was: " + lastLine)
            + ". Read its log above, or run again with --verbose.");
  }

  private static Failure bySignal(int signal, long pid, boolean isOutOfMemory) {
    if (signal == KILL && isOutOfMemory) {
      return death(
          ExitStatus.OUT_OF_MEMORY,
          "killed by the kernel, which ran out of memory. Lower batch.micro or model sizes, start"
              + " fewer workers, or use a host with more memory.");
    }
    String name = SIGNALS.containsKey(signal) ? " (" + SIGNALS.get(signal) + ")" : "";
    return death(
        ExitStatus.RANK_FAILED, "killed by signal " + signal + name + ". " + advice(signal, pid));
  }

  private static String advice(int signal, long pid) {
    return switch (signal) {
      case KILL, 15 ->
          "Somebody or a resource manager ended it; start again, with --resume to go on from the"
              + " last checkpoint.";
      case 6 -> // the Java machine ends so with a report, the C library without one
          "Native code gave up. Please report what it said above, and hs_err_pid"
              + pid
              + ".log where there is one in this folder.";
      case 4, 7, 8, 11 ->
          "Native code crashed; hs_err_pid"
              + pid
              + ".log in this folder tells where. Please report it with that file.";
      default -> "Start again, with --resume to go on from the last checkpoint.";
    };
  }

  private static Failure death(ExitStatus status, String message) {
    return new Failure(status, Failure.Blame.OWN, message, "");
  }
}
