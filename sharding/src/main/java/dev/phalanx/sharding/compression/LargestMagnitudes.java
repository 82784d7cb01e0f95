package dev.phalanx.sharding.compression;

import java.util.Arrays;

/**
 * Finds the k-th largest magnitude of many numbers by radix selection: the bits of a magnitude,
 * read as a whole number, are ordered as magnitudes are. Each pass counts the numbers by their next
 * bits, from the highest on, among those that agree with what is known already. Three passes, no
 * copy, and the same time whatever the numbers are. One thread at a time.
 */
final class LargestMagnitudes {
  /** The lowest bit of each pass, and how many there are: 31 in all, without the sign. */
  private static final int[] SHIFTS = {20, 10, 0};

  private static final int[] WIDTHS = {11, 10, 10};

  private final float[] block = new float[HostMemory.BLOCK];
  private final long[] counts = new long[1 << WIDTHS[0]];
  private int smallestBits;
  private long smallestCount;

  /**
   * Looks at {@code elements} numbers from the first on.
   *
   * @param wanted how many of the largest, from 1 to {@code elements}
   */
  void find(HostMemory values, long elements, long wanted) {
    int known = 0;
    long left = wanted;
    for (int pass = 0; pass < SHIFTS.length; pass++) {
      count(values, elements, known, SHIFTS[pass], WIDTHS[pass]);
      int digit = (1 << WIDTHS[pass]) - 1;
      while (counts[digit] < left) {
        left -= counts[digit];
        digit--;
      }
      known |= digit << SHIFTS[pass];
    }
    smallestBits = known;
    smallestCount = left;
  }

  private void count(HostMemory values, long elements, int known, int shift, int width) {
    Arrays.fill(counts, 0);
    int mask = (1 << width) - 1;
    for (long start = 0; start < elements; start += block.length) {
      int length = (int) Math.min(block.length, elements - start);
      values.read(start, block, length);
      for (int i = 0; i < length; i++) {
        int magnitude = magnitudeBits(block[i]);
        if (magnitude >>> shift >>> width == known >>> shift >>> width) {
          counts[magnitude >>> shift & mask]++;
        }
      }
    }
  }

  /** The magnitude as a whole number that is ordered as magnitudes are. */
  static int magnitudeBits(float value) {
    return Float.floatToRawIntBits(value) & Integer.MAX_VALUE;
  }

  /** {@link #magnitudeBits} of the smallest of the wanted numbers. */
  int smallestBits() {
    return smallestBits;
  }

  /** How many of the wanted numbers have that magnitude; there may be more that are not wanted. */
  long smallestCount() {
    return smallestCount;
  }
}
