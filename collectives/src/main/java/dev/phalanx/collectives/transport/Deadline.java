package dev.phalanx.collectives.transport;

import java.time.Duration;

/** A moment until which somebody is ready to wait. */
public final class Deadline {
  private final Duration allowed;
  private final long endNanos;

  private Deadline(Duration allowed, long endNanos) {
    this.allowed = allowed;
    this.endNanos = endNanos;
  }

  public static Deadline after(Duration allowed) {
    return new Deadline(allowed, System.nanoTime() + allowed.toNanos());
  }

  /** The moment after {@code step}, or this one where it comes first. */
  public Deadline within(Duration step) {
    long soon = System.nanoTime() + step.toNanos();
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
    long millis = duration.toMillis();
    return millis % 1000 == 0 ? millis / 1000 + " s" : millis + " ms";
  }
}
