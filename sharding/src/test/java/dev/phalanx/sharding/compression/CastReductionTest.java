package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class CastReductionTest {
  private static final float LARGEST_HALF = 65504;

  /** As of a model of 10^9 parameters: far below the numbers that a FLOAT16 has all digits of. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 8, 16})
  void aMeanOfSmallGradientsKeepsItsDigitsHoweverManyRanksThereAre(int ranks) throws Exception {
    float mean = 3e-5f;
    List<float[]> sums =
        Rank.runAll(
            ranks,
            rank ->
                rank.reduce(
                    rank.reduction(new Compression.Float16(), 2),
                    1,
                    mean / ranks,
                    LARGEST_HALF / (2 * ranks)));

    for (float[] sum : sums) {
      // Each rank rounds by 2^-25 at most, and so does each sum of two.
      assertThat(sum[0]).isCloseTo(mean, within(2 * ranks * 0x1p-25f));
      assertThat(sum[1]).isCloseTo(LARGEST_HALF / 2, withinPercentage(0.5));
    }
  }

  @Test
  void gradientsThatNoFloat16HoldsAreSeenAsInfinite() throws Exception {
    Rank.runAll(
        2,
        rank ->
            assertThat(rank.reduce(rank.reduction(new Compression.Float16(), 2), 1, 1e6f, 1))
                .containsExactly(Float.POSITIVE_INFINITY, 2));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void smallWholeNumbersAreExact(int ranks) throws Exception {
    for (Compression compression : List.of(new Compression.Float16(), new Compression.Bfloat16())) {
      Rank.runAll(
          ranks,
          rank ->
              assertThat(rank.reduce(rank.reduction(compression, 4), 1, 1, -17, 0, 30))
                  .containsExactly(ranks, -17 * ranks, 0, 30 * ranks));
    }
  }

  @Test
  void roundingIsThatOfTheType() throws Exception {
    // Half-way between 1 and its neighbour, which goes to the even one, and a little more.
    Rank.runAll(
        1,
        rank -> {
          assertThat(
                  rank.reduce(
                      rank.reduction(new Compression.Bfloat16(), 2), 1, 1 + 0x1p-8f, 1.006f))
              .containsExactly(1, 1 + 0x1p-7f);
          assertThat(
                  rank.reduce(
                      rank.reduction(new Compression.Float16(), 2), 1, 1 + 0x1p-11f, 1.0006f))
              .containsExactly(1, 1 + 0x1p-10f);
          return rank;
        });
  }
}
