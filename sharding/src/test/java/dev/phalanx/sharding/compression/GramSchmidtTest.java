package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class GramSchmidtTest {
  private static final int ROWS = 4;

  private static void requireOrthonormal(float[] matrix, int rows) {
    int length = matrix.length / rows;
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j <= i; j++) {
        double product = 0;
        for (int k = 0; k < length; k++) {
          product += (double) matrix[i * length + k] * matrix[j * length + k];
        }
        assertThat(product).as("rows %d and %d", i, j).isCloseTo(i == j ? 1 : 0, within(1e-6));
      }
    }
  }

  private static float[] orthonormalized(Rank rank, float[] matrix, int rows) {
    HostMemory memory = new HostMemory(rank.tensor(matrix));
    new GramSchmidt().orthonormalize(memory, 0, rows, matrix.length / rows, 11);
    float[] result = new float[matrix.length];
    memory.read(0, result, result.length);
    return result;
  }

  @Test
  void randomRowsBecomeOrthonormal() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          for (int length : new int[] {4, 5, 1023, 1025, 3000}) {
            float[] matrix = Gradients.normal(ROWS * length, 0, length);
            requireOrthonormal(orthonormalized(rank, matrix, ROWS), ROWS);
          }
          return rank;
        });
  }

  @Test
  void theFirstRowKeepsItsDirectionWhateverItsLength() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          assertThat(orthonormalized(rank, new float[] {3e15f, 4e15f, 1, 0}, 2))
              .containsExactly(new float[] {0.6f, 0.8f, 0.8f, -0.6f}, within(1e-6f));
          assertThat(orthonormalized(rank, new float[] {3e-25f, 4e-25f}, 1))
              .containsExactly(new float[] {0.6f, 0.8f}, within(1e-6f));
          return rank;
        });
  }

  @Test
  void rowsWithoutADirectionOfTheirOwnAreReplaced() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          int length = 50;
          float[] matrix = Gradients.normal(ROWS * length, 0, 1);
          for (int i = 0; i < length; i++) {
            matrix[length + i] = -3 * matrix[i]; // the first one's
            matrix[2 * length + i] = 0;
          }
          requireOrthonormal(orthonormalized(rank, matrix, ROWS), ROWS);
          requireOrthonormal(orthonormalized(rank, new float[ROWS * length], ROWS), ROWS);
          return rank;
        });
  }

  @Test
  void nearlyDependentRowsAreOrthonormalToo() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          int length = 200;
          float[] matrix = Gradients.normal(ROWS * length, 0, 2);
          for (int row = 1; row < ROWS; row++) {
            for (int i = 0; i < length; i++) {
              matrix[row * length + i] = matrix[i] + 1e-3f * matrix[row * length + i];
            }
          }
          requireOrthonormal(orthonormalized(rank, matrix, ROWS), ROWS);
          return rank;
        });
  }
}
