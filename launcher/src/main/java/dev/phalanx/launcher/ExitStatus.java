package dev.phalanx.launcher;

import java.util.Arrays;
import java.util.Optional;

/**
 * The exit status of every command, in one table. A job ends with the status of its first failure's
 * cause.
 */
public enum ExitStatus {
  /** Done. */
  DONE(0, "done"),
  /** Wrong usage or a wrong plan file: nothing was started. Correct what the message names. */
  USAGE(64, "wrong usage or plan file"),
  /**
   * A rank failed in a way that has no status of its own, or was killed. Read its message and log.
   */
  RANK_FAILED(70, "a rank failed"),
  /**
   * Ranks called different collectives: an error in the program, or different versions on the
   * hosts.
   */
  RANKS_DISAGREE(71, "ranks disagree about a collective"),
  /** A deadline passed: a rank hangs, is overloaded, or the deadline is too short for the job. */
  DEADLINE(72, "a deadline passed"),
  /**
   * The rendezvous refused a rank: wrong token, wrong world size, or a rank that is there already.
   */
  REFUSED(73, "refused at rendezvous"),
  /** A file or the network failed: missing file, no permission, no space. */
  INPUT_OUTPUT(74, "input or output failed"),
  /** A port or another resource is taken. Choose another one, or end who has it. */
  BUSY(75, "a port or resource is busy"),
  /** A checkpoint or weights file is damaged or does not fit. Take an older or another one. */
  BAD_CHECKPOINT(76, "bad checkpoint or weights file"),
  /**
   * Out of memory: Java heap, direct memory, native memory, or killed by the kernel. The message
   * tells which.
   */
  OUT_OF_MEMORY(77, "out of memory"),
  /**
   * The loss or a gradient is no finite number. Lower the learning rate, clip gradients, or resume
   * earlier.
   */
  NOT_FINITE(78, "stopped on NaN"),
  /** A worker's launcher is gone; seen only by whoever looks at workers. */
  LAUNCHER_LOST(79, "launcher lost"),
  /** Stopped because somebody asked; {@code --resume} goes on. */
  STOPPED(80, "stopped on request"),
  /**
   * Interrupted by the user (Ctrl-C); {@code --resume} goes on where a checkpoint could be saved.
   */
  INTERRUPTED(130, "interrupted");

  private final int code;
  private final String meaning;

  ExitStatus(int code, String meaning) {
    this.code = code;
    this.meaning = meaning;
  }

  /** What the process ends with. */
  public int code() {
    return code;
  }

  public String meaning() {
    return meaning;
  }

  /**
   * The status of this code; empty for codes that no command of ours ends with, such as those of
   * signals.
   */
  public static Optional<ExitStatus> ofCode(int code) {
    return Arrays.stream(values()).filter(status -> status.code == code).findFirst();
  }
}
