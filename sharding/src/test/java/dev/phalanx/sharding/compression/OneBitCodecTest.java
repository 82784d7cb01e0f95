package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class OneBitCodecTest {
  @Test
  void numbersBecomeTheirSignsTimesTheMeanMagnitude() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.OneBit(0), 4);
          assertThat(rank.reduce(reduction, 1, 1, -2, 6, -7)).containsExactly(4, -4, 4, -4);
          // The residual is -3, 2, 2, -3.
          assertThat(rank.reduce(reduction, 2, 0, 0, 0, 0))
              .containsExactly(-2.5f, 2.5f, 2.5f, -2.5f);
          return rank;
        });
  }

  @Test
  void eachRanksPartHasAScaleOfItsOwn() throws Exception {
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.OneBit(0), 4);
          assertThat(rank.reduce(reduction, 1, 1, -1, 100, 100)).containsExactly(2, -2, 200, 200);
          return rank;
        });
  }

  @Test
  void bothWaysHaveErrorFeedback() throws Exception {
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.OneBit(0), 4);
          boolean isFirst = rank.number() == 0;
          // Both ranks' first parts are exact; their sum, 4 and 0, is not.
          float[] gradients = isFirst ? new float[] {2, 2, 0, 0} : new float[] {2, -2, 0, 0};
          assertThat(rank.reduce(reduction, 1, gradients)).containsExactly(2, 2, 0, 0);
          assertThat(Rank.read(Rank.state(reduction, "residual"))).containsOnly(0);
          assertThat(Rank.read(Rank.state(reduction, "part_residual")))
              .containsExactly(isFirst ? new float[] {2, -2} : new float[] {0, 0});
          return rank;
        });
  }
}
