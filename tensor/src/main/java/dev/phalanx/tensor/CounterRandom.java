package dev.phalanx.tensor;

/**
 * Random numbers addressed by a counter: output i of SplitMix64 (Steele, Lea and Flood, 2014)
 * started at a seed, as a function of i. Any rank makes any part of any sequence without the rest,
 * so results do not depend on the layout, and the state of the generator is the one number that the
 * caller counts.
 */
public final class CounterRandom {
  private static final long GAMMA = 0x9E3779B97F4A7C15L;

  private CounterRandom() {}

  /** The 64 bits at place {@code index} of the sequence of {@code seed}. */
  public static long at(long seed, long index) {
    return mix(seed + (index + 1) * GAMMA);
  }

  /** A number in [0, 1) with 53 random bits. */
  public static double unit(long seed, long index) {
    return (at(seed, index) >>> 11) * 0x1.0p-53;
  }

  /**
   * A number of the standard normal distribution (Box and Muller, 1958), from places 2 index and 2
   * index + 1.
   */
  public static double normal(long seed, long index) {
    double radius = Math.sqrt(-2.0 * Math.log(1.0 - unit(seed, 2 * index)));
    return radius * Math.cos(2.0 * Math.PI * unit(seed, 2 * index + 1));
  }

  private static long mix(long state) {
    long z = state;
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
