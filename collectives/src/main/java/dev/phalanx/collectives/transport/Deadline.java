package dev.phalanx.collectives.transport;

import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** A moment until which somebody is ready to wait. */
public final class Deadline {
  /**
   * 146 years: the clock's numbers can be subtracted from each other up to twice as far. Whoever
   * allows more waits for as long.
   */
  private static final Duration LONGEST = Duration.ofNanos(Long.MAX_VALUE / 2);

  private final Duration allowed;
  private final long endNanos;

  private Deadline(Duration allowed, long endNanos) {
    this.allowed = allowed;
    this.endNanos = endNanos;
  }

  public static Deadline after(Duration allowed) {
    return new Deadline(allowed, System.nanoTime() + nanos(allowed));
  }

  /** A duration in nanoseconds, the nearest that clocks know: from 0 to 146 years. */
  public static long nanos(Duration duration) {
    if (duration.isNegative()) {
      return 0;
    }
    return duration.compareTo(LONGEST) > 0 ? LONGEST.toNanos() : duration.toNanos();
  }

  /** A duration in milliseconds, as sockets count it: at least one, and as many as an int holds. */
  public static int millis(Duration duration) {
    long millis = TimeUnit.NANOSECONDS.toMillis(nanos(duration));
    return (int) Math.min(Integer.MAX_VALUE, Math.max(1, millis));
  }

  /** The moment after {@code step}, or this one where it comes first. */
  public Deadline within(Duration step) {
    long soon = System.nanoTime() + nanos(step);
    return soon - endNanos < 0 ? new Deadline(step, soon) : this;
  }

  /** Nanoseconds that are left; zero or less when it has passed. */
  public long remainingNanos() {
    return endNanos - System.nanoTime();
  }

  public boolean hasPassed() {
    return remainingNanos() <= 0;
  }

  /** The time that was allowed from the beginning. */
  public Duration allowed() {
    return allowed;
  }

  /** The time that was allowed, as messages write it: {@code 60 s} or {@code 250 ms}. */
  public String text() {
    return text(allowed);
  }

  /** A duration as messages write it. */
  public static String text(Duration duration) {
    return duration.toMillisPart() == 0 ? duration.toSeconds() + " s" : duration.toMillis() + " ms";
  }
}
