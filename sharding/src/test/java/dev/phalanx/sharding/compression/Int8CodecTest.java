package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class Int8CodecTest {
  /** Whole numbers of 127 steps, with a step of each block's own. */
  private static float onTheGrid(int i, int block) {
    float step = 0.25f * (1 + i / block);
    int number = i % block == 0 ? 127 : (i * 37) % 255 - 127;
    return number * step;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void sumsOfNumbersOnTheGridAreExact(int ranks) throws Exception {
    int block = 8;
    int size = block * 4 * 3; // parts of whole blocks
    float[] gradients = new float[size];
    float[] sum = new float[size];
    for (int i = 0; i < size; i++) {
      gradients[i] = onTheGrid(i, block);
      sum[i] = ranks * gradients[i];
    }
    Rank.runAll(
        ranks,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.Int8(block), size);
          assertThat(rank.reduce(reduction, 1, gradients)).isEqualTo(sum);
          assertThat(reduction.statistics().errorNorm()).isZero();
          return rank;
        });
  }

  @Test
  void theErrorIsHalfAStepOfTheBlockAtMost() throws Exception {
    int size = 1000;
    int block = 64;
    float[] gradients = Gradients.normal(size, 0, 1);
    for (int i = 0; i < size; i++) {
      gradients[i] *= i / block + 1;
    }
    Rank.runAll(
        1,
        rank -> {
          Int8Codec codec = new Int8Codec(block, size);
          HostMemory values = new HostMemory(rank.tensor(gradients));
          HostMemory message =
              new HostMemory(rank.tensor(new float[(int) codec.messageBytes(size) / Float.BYTES]));
          codec.encode(values, 0, size, message, 0, size);
          HostMemory decoded = new HostMemory(rank.tensor(new float[size]));
          codec.decodeAdding(message, 0, size, decoded, 0, size);
          for (int i = 0; i < size; i++) {
            float largest = 0;
            for (int j = i / block * block; j < Math.min(size, (i / block + 1) * block); j++) {
              largest = Math.max(largest, Math.abs(gradients[j]));
            }
            float error = gradients[i] - decoded.getFloat(i);
            assertThat(Math.abs(error)).isLessThanOrEqualTo(largest / 127 / 2 * 1.00001f);
            assertThat(values.getFloat(i)).isEqualTo(error);
          }
          return rank;
        });
  }

  @Test
  void blocksOfZerosAndOfTheSmallestNumbersStayFinite() throws Exception {
    Rank.runAll(
        2,
        rank -> {
          float[] sum =
              rank.reduce(
                  rank.reduction(new Compression.Int8(2), 8),
                  1,
                  0,
                  -0f,
                  Float.MIN_VALUE,
                  -Float.MIN_NORMAL,
                  Float.MAX_VALUE / 4,
                  1,
                  3,
                  -3);
          assertThat(sum).startsWith(0, 0, 0, 0).endsWith(0, 6, -6);
          assertThat(sum[4]).isCloseTo(Float.MAX_VALUE / 2, withinPercentage(0.001));
          return rank;
        });
  }
}
