package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class LargestMagnitudesTest {
  @Test
  void theSmallestOfTheLargestIsThatOfASortedArray() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          Random random = new Random(5);
          for (int trial = 0; trial < 200; trial++) {
            float[] values = new float[1 + random.nextInt(3000)];
            for (int i = 0; i < values.length; i++) {
              values[i] = value(random, trial);
            }
            int wanted = 1 + random.nextInt(values.length);
            compareWithSorting(rank, values, wanted);
          }
          return rank;
        });
  }

  private static float value(Random random, int trial) {
    return switch (trial % 4) {
      case 0 -> (float) random.nextGaussian();
      case 1 -> random.nextInt(5) - 2; // many of one magnitude
      case 2 -> Float.intBitsToFloat(random.nextInt(0x7f800000)) * (random.nextBoolean() ? 1 : -1);
      default -> random.nextInt(9) == 0 ? 1e-42f : -0f; // subnormal numbers and zeros
    };
  }

  private static void compareWithSorting(Rank rank, float[] values, int wanted) {
    LargestMagnitudes largest = new LargestMagnitudes();
    largest.find(new HostMemory(rank.tensor(values)), values.length, wanted);

    float[] magnitudes = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      magnitudes[i] = Math.abs(values[i]);
    }
    Arrays.sort(magnitudes);
    float smallest = magnitudes[values.length - wanted];
    long larger = 0;
    for (float magnitude : magnitudes) {
      larger += magnitude > smallest ? 1 : 0;
    }
    assertThat(Float.intBitsToFloat(largest.smallestBits())).isEqualTo(smallest);
    assertThat(largest.smallestCount()).isEqualTo(wanted - larger);
  }
}
