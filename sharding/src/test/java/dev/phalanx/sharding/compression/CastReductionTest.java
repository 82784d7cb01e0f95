package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class CastReductionTest {
  private static final float LARGEST_HALF = 65504;

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5})
  void aSumOfLargestFloat16sDoesNotOverflow(int ranks) throws Exception {
    List<float[]> sums =
        Rank.runAll(
            ranks,
            rank ->
                rank.reduce(
                    rank.reduction(new Compression.Float16(), 3),
                    1,
                    LARGEST_HALF,
                    -LARGEST_HALF,
                    rank.number() == 0 ? LARGEST_HALF : 0));

    for (float[] sum : sums) {
      // Three or five times the largest number has more digits than a FLOAT16.
      assertThat(sum[0]).isCloseTo(ranks * LARGEST_HALF, withinPercentage(0.05));
      assertThat(sum[1]).isEqualTo(-sum[0]);
      assertThat(sum[2]).isEqualTo(LARGEST_HALF);
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
