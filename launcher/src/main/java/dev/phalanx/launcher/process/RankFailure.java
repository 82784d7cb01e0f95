package dev.phalanx.launcher.process;

import dev.phalanx.launcher.Failure;

/**
 * A failure and the rank that it happened to.
 *
 * @param rank the rank, or the first of the worker's ranks where the whole process failed
 * @param pid of its process
 * @param isDeath whether the process died without a word, of a signal for instance
 */
public record RankFailure(int rank, long pid, Failure failure, boolean isDeath) {

  /**
   * The failure in one sentence: {@code rank 3/8 (hostB pid 71): what happened. What to do.}
   *
   * @param host where the process ran
   */
  public String sentence(int worldSize, String host) {
    String who = "rank " + rank + "/" + worldSize;
    String where = " (" + host + " pid " + pid + ")";
    String message = failure.message();
    if (message.startsWith(who + " ") || message.startsWith(who + ":")) {
      return who + where + message.substring(who.length());
    }
    return who + where + ": " + message;
  }
}
