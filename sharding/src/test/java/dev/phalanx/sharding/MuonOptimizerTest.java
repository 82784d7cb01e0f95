package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import net.jqwik.api.Example;

/** Muon on one rank against its definition in double precision. */
final class MuonOptimizerTest {
  private static final double LEARNING_RATE = 0.02;
  private static final double DECAY = 0.1;
  private static final double SCALE = 0.5;

  /** Orthogonal by five steps of Newton and Schulz, in the way of the wide matrix always. */
  private static double[][] orthogonal(double[][] matrix) {
    if (matrix.length > matrix[0].length) {
      return transposed(orthogonal(transposed(matrix)));
    }
    double squares = 0;
    for (double[] row : matrix) {
      for (double element : row) {
        squares += element * element;
      }
    }
    double[][] x = sum(1 / (Math.sqrt(squares) + 1e-7), matrix, 0, matrix);
    for (int step = 0; step < 5; step++) {
      double[][] gram = product(x, transposed(x));
      double[][] polynomial = sum(-4.7750, gram, 2.0315, product(gram, gram));
      x = sum(3.4445, x, 1, product(polynomial, x));
    }
    return x;
  }

  private static double[][] product(double[][] a, double[][] b) {
    double[][] out = new double[a.length][b[0].length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < b[0].length; j++) {
        for (int k = 0; k < b.length; k++) {
          out[i][j] += a[i][k] * b[k][j];
        }
      }
    }
    return out;
  }

  private static double[][] sum(double alpha, double[][] a, double beta, double[][] b) {
    double[][] out = new double[a.length][a[0].length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < a[0].length; j++) {
        out[i][j] = alpha * a[i][j] + beta * b[i][j];
      }
    }
    return out;
  }

  private static double[][] transposed(double[][] a) {
    double[][] out = new double[a[0].length][a.length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < a[0].length; j++) {
        out[j][i] = a[i][j];
      }
    }
    return out;
  }

  private static double[][] rows(double[] elements, int first, int rows, int columns) {
    double[][] out = new double[rows][columns];
    for (int i = 0; i < rows; i++) {
      System.arraycopy(elements, (first + i) * columns, out[i], 0, columns);
    }
    return out;
  }

  @Example
  void aTallMatrixAndAWideOneBecomeOrthogonal() {
    Random random = new Random(3);
    try (FlatModel model = FlatModel.of(Shape.of(1))) {
      for (Shape shape :
          List.of(Shape.of(7, 30), Shape.of(30, 7), Shape.of(12, 12), Shape.of(1, 5))) {
        Tensor matrix = model.arena().allocate(DType.FLOAT32, shape);
        FlatModel.write(matrix, i -> random.nextGaussian());
        int rows = Math.toIntExact(shape.size(0));
        int columns = Math.toIntExact(shape.size(1));
        double[][] expected = orthogonal(rows(FlatModel.read(matrix), 0, rows, columns));

        new NewtonSchulz(model.arena(), model.arena(), 5).orthogonalize(matrix);

        double[][] found = rows(FlatModel.read(matrix), 0, rows, columns);
        for (int i = 0; i < rows; i++) {
          assertThat(found[i]).containsExactly(expected[i], within(2e-5));
        }
        if (rows * 3 < columns) { // singular values far from 0: rows are of a length near 1
          double[][] gram = product(found, transposed(found));
          for (int i = 0; i < rows; i++) {
            assertThat(gram[i][i]).isBetween(0.4, 1.5);
          }
        }
      }
    }
  }

  @Example
  void zerosStayZeros() {
    try (FlatModel model = FlatModel.of(Shape.of(1))) {
      Tensor matrix = model.arena().zeros(DType.FLOAT32, 3, 4);

      new NewtonSchulz(model.arena(), model.arena(), 5).orthogonalize(matrix);

      assertThat(FlatModel.read(matrix)).containsOnly(0);
    }
  }

  /** The first parameter is no hidden one; the second is of two matrices, the third is tall. */
  private static List<Long> matrices(Parameter parameter) {
    return switch (parameter.name()) {
      case "p1" -> List.of(4L, 6L);
      case "p2" -> List.of(20L);
      default -> List.of();
    };
  }

  private static MuonOptimizer optimizer(FlatModel model, boolean nesterov) {
    return new MuonOptimizer(
        model.arena(),
        model.arena(),
        model.flat(),
        MuonOptimizerTest::matrices,
        new MuonOptimizer.Settings(0.95, nesterov, 5, DECAY, 0.25, 0.9, 0.95, 1e-8));
  }

  @Example
  void hiddenMatricesFollowMuonAndTheRestAdamW() {
    follow(true);
    follow(false);
  }

  private static void follow(boolean nesterov) {
    List<Shape> shapes = List.of(Shape.of(9, 8), Shape.of(10, 8), Shape.of(20, 8), Shape.of(8));
    Random random = new Random(11);
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes);
        FlatModel plain = new FlatModel(DType.FLOAT32, shapes)) {
      FlatParameters flat = model.flat();
      FlatModel.write(flat.master(), i -> random.nextGaussian());
      double[] start = FlatModel.read(flat.master());
      FlatModel.write(plain.flat().master(), i -> start[i]);
      MuonOptimizer muon = optimizer(model, nesterov);
      AdamWOptimizer adamW =
          new AdamWOptimizer(plain.arena(), plain.flat(), 0.9, 0.95, 1e-8, DECAY);
      double[][] values = new double[3][];
      double[][] momenta = new double[3][];
      for (int number = 1; number <= 2; number++) {
        values[number] = FlatModel.read(flat.slice(flat.master(), model.parameters().get(number)));
        momenta[number] = new double[values[number].length];
      }

      for (long step = 1; step <= 3; step++) {
        FlatModel.write(flat.gradients(), i -> random.nextGaussian());
        double[] gradients = FlatModel.read(flat.gradients());
        FlatModel.write(plain.flat().gradients(), i -> gradients[i]);
        for (int number = 1; number <= 2; number++) {
          Parameter parameter = model.parameters().get(number);
          double[] own = FlatModel.read(flat.slice(flat.gradients(), parameter));
          double[] update = new double[own.length];
          for (int i = 0; i < own.length; i++) {
            momenta[number][i] = 0.95 * momenta[number][i] + SCALE * own[i];
            update[i] = nesterov ? SCALE * own[i] + 0.95 * momenta[number][i] : momenta[number][i];
          }
          int first = 0;
          for (long rows : matrices(parameter)) {
            apply(values[number], update, first, Math.toIntExact(rows));
            first += Math.toIntExact(rows);
          }
        }
        muon.step(step, LEARNING_RATE, SCALE);
        adamW.step(step, 0.25 * LEARNING_RATE, SCALE);
      }

      for (int number = 0; number < shapes.size(); number++) {
        Parameter parameter = model.parameters().get(number);
        double[] found = FlatModel.read(flat.slice(flat.values(), parameter));
        double[] expected =
            matrices(parameter).isEmpty()
                ? FlatModel.read(
                    plain.flat().slice(plain.flat().values(), plain.parameters().get(number)))
                : values[number];
        assertThat(found).as("parameter %d", number).containsExactly(expected, within(1e-5));
      }
    }
  }

  private static void apply(double[] values, double[] update, int first, int rows) {
    double[][] orthogonal = orthogonal(rows(update, first, rows, 8));
    double rate = LEARNING_RATE * Math.sqrt(Math.max(1, rows / 8.0));
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < 8; j++) {
        int at = (first + i) * 8 + j;
        values[at] = (1 - LEARNING_RATE * DECAY) * values[at] - rate * orthogonal[i][j];
      }
    }
  }

  @Example
  void eachParameterHasOneKindOfStateOnly() {
    try (FlatModel model =
        FlatModel.of(Shape.of(9, 8), Shape.of(10, 8), Shape.of(20, 8), Shape.of(8))) {
      MuonOptimizer muon = optimizer(model, true);

      Map<String, Long> counts = new TreeMap<>();
      muon.state().forEach((kind, state) -> counts.put(kind, state.elementCount()));
      assertThat(counts)
          .isEqualTo(
              Map.of("momenta", 30 * 8L, "first_moments", 10 * 8L, "second_moments", 10 * 8L));
    }
  }

  @Example
  void matricesMustMakeUpTheirParameter() {
    try (FlatModel model = FlatModel.of(Shape.of(9, 8), Shape.of(11, 8))) {
      assertThatThrownBy(() -> optimizer(model, true))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("p1")
          .hasMessageContaining("10 of 11 rows");
    }
  }
}
