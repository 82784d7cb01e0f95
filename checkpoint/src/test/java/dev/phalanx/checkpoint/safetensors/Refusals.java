package dev.phalanx.checkpoint.safetensors;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;

/** What every refusal of a file has in common. */
final class Refusals {
  /** What opening one of these small files may take from the heap, JSON parser and all. */
  static final long MOST_BYTES_ALLOCATED = 4 << 20;

  private Refusals() {}

  /** Bytes that this thread has ever taken from the heap. */
  static long allocatedBytes() {
    return ManagementFactory.getPlatformMXBean(com.sun.management.ThreadMXBean.class)
        .getCurrentThreadAllocatedBytes();
  }

  /** The message is one line of a terminal, without anything that would move its cursor. */
  static void assertOneLine(Throwable thrown) {
    assertThat(thrown.getMessage())
        .hasSizeLessThan(1000)
        .doesNotContainPattern("[\\p{Cntrl}\\u0085\\u2028\\u2029\\u202e]");
  }
}
