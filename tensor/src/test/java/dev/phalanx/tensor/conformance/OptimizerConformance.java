package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** AdamW and SGD on flat memory, several steps of them. */
public abstract class OptimizerConformance extends KernelConformance {
  @ParameterizedTest
  @CsvSource({"1.0, 0.1", "0.125, 0.1", "0.3, 0.0"})
  void adamWFollowsItsDefinition(double gradientScale, double weightDecay) {
    for (int size : new int[] {0, 1, 3, 7, 17, 33, 65, 1_100_003}) {
      double[] p = normal(DType.FLOAT32, size);
      double[] m = new double[size];
      double[] v = new double[size];
      Tensor parameters = tensor(DType.FLOAT32, p, size);
      Tensor firstMoments = arena.zeros(DType.FLOAT32, size);
      Tensor secondMoments = arena.zeros(DType.FLOAT32, size);
      for (int step = 1; step <= 3; step++) {
        double[] g = normal(DType.FLOAT32, size);
        AdamW update = new AdamW(1e-2, 0.9, 0.95, 1e-8, weightDecay, gradientScale, step);
        Tensor gradients = tensor(DType.FLOAT32, g, size);
        engine.adamW(update, parameters, gradients, firstMoments, secondMoments);
        adamW(update, p, g, m, v);
        assertThat(values(gradients)).isEqualTo(g);
        gradients.close();
      }
      assertClose(parameters, p, 1e-6);
      assertClose(firstMoments, m, 1e-6);
      assertClose(secondMoments, v, 1e-6);
    }
  }

  private static void adamW(AdamW update, double[] p, double[] g, double[] m, double[] v) {
    double correction1 = 1 - Math.pow(update.beta1(), update.step());
    long varianceSteps = Math.min(update.step(), update.varianceSteps());
    double correction2 = 1 - Math.pow(update.beta2(), varianceSteps);
    for (int i = 0; i < p.length; i++) {
      double gradient = update.gradientScale() * g[i];
      p[i] *= 1 - update.learningRate() * update.weightDecay();
      if (varianceSteps < update.step()) {
        m[i] = gradient;
      } else {
        m[i] += (1 - update.beta1()) * (gradient - m[i]);
        v[i] = update.beta2() * v[i] + (1 - update.beta2()) * gradient * gradient;
      }
      p[i] -=
          update.learningRate()
              / correction1
              * m[i]
              / (Math.sqrt(v[i]) / Math.sqrt(correction2) + update.epsilon());
    }
  }

  @ParameterizedTest
  @CsvSource({"1.0, 0.1", "0.3, 0.0"})
  void adamWLeavesAFrozenVarianceAlone(double gradientScale, double weightDecay) {
    for (int size : new int[] {0, 1, 3, 17, 65, 200_003}) {
      double[] p = normal(DType.FLOAT32, size);
      double[] m = new double[size];
      double[] v = new double[size];
      Tensor parameters = tensor(DType.FLOAT32, p, size);
      Tensor firstMoments = arena.zeros(DType.FLOAT32, size);
      Tensor secondMoments = arena.zeros(DType.FLOAT32, size);
      for (int step = 1; step <= 4; step++) {
        double[] g = normal(DType.FLOAT32, size);
        AdamW update = new AdamW(1e-2, 0.9, 0.95, 1e-8, weightDecay, gradientScale, step, 2);
        Tensor gradients = tensor(DType.FLOAT32, g, size);
        engine.adamW(update, parameters, gradients, firstMoments, secondMoments);
        adamW(update, p, g, m, v);
        assertThat(values(gradients)).isEqualTo(g);
        gradients.close();
      }
      assertClose(parameters, p, 1e-6);
      assertClose(firstMoments, m, 1e-6);
      assertClose(secondMoments, v, 1e-6);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0.0, false, 0.0, 1.0",
    "0.0, false, 0.1, 0.5",
    "0.9, false, 0.0, 1.0",
    "0.9, true, 0.1, 0.25",
    "0.9, false, 0.1, 2.0"
  })
  void sgdFollowsItsDefinition(
      double momentum, boolean nesterov, double weightDecay, double gradientScale) {
    Sgd update = new Sgd(0.1, momentum, nesterov, weightDecay, gradientScale);
    for (int size : new int[] {0, 1, 3, 7, 17, 33, 65, 100_003}) {
      double[] p = normal(DType.FLOAT32, size);
      double[] m = new double[size];
      Tensor parameters = tensor(DType.FLOAT32, p, size);
      Tensor momenta = momentum == 0 ? null : arena.zeros(DType.FLOAT32, size);
      for (int step = 0; step < 3; step++) {
        double[] g = normal(DType.FLOAT32, size);
        Tensor gradients = tensor(DType.FLOAT32, g, size);
        engine.sgd(update, parameters, gradients, momenta);
        for (int i = 0; i < size; i++) {
          double gradient = gradientScale * g[i] + weightDecay * p[i];
          m[i] = momentum * m[i] + gradient;
          p[i] -= 0.1 * (momentum == 0 ? gradient : nesterov ? gradient + momentum * m[i] : m[i]);
        }
        assertThat(values(gradients)).isEqualTo(g);
      }
      assertClose(parameters, p, 1e-6);
    }
  }

  /** An update of memory that is divided among ranks. */
  private interface Update {
    void run(Tensor parameters, Tensor gradients, Tensor first, Tensor second);
  }

  /** Ranks cut an update anywhere, and the bits are those of the whole. */
  @ParameterizedTest
  @CsvSource({"1.0", "0.3"})
  void whereAnUpdateIsCutDoesNotShow(double gradientScale) {
    for (int step = 1; step <= 3; step++) {
      AdamW adamW = new AdamW(1e-2, 0.9, 0.95, 1e-8, 0.1, gradientScale, step);
      assertCutAnywhere((p, g, m, v) -> engine.adamW(adamW, p, g, m, v));
      AdamW frozen = new AdamW(1e-2, 0.9, 0.95, 1e-8, 0.1, gradientScale, step + 1, 1);
      assertCutAnywhere((p, g, m, v) -> engine.adamW(frozen, p, g, m, v));
    }
    Sgd sgd = new Sgd(0.1, 0.9, true, 0.1, gradientScale);
    assertCutAnywhere((p, g, m, v) -> engine.sgd(sgd, p, g, m));
  }

  private void assertCutAnywhere(Update update) {
    int[] ends = {5, 22, 38, 39, 120, 203};
    int size = ends[ends.length - 1];
    Tensor[] whole = new Tensor[4];
    Tensor[] cut = new Tensor[4];
    for (int i = 0; i < whole.length; i++) {
      double[] values = normal(DType.FLOAT32, size);
      if (i == 3) {
        values = ReferenceKernels.absolute(values); // second moments
      }
      whole[i] = tensor(DType.FLOAT32, values, size);
      cut[i] = tensor(DType.FLOAT32, values, size);
    }
    update.run(whole[0], whole[1], whole[2], whole[3]);
    int start = 0;
    for (int end : ends) {
      Tensor[] part = new Tensor[4];
      for (int i = 0; i < part.length; i++) {
        part[i] = cut[i].slice(0, start, end - start);
      }
      update.run(part[0], part[1], part[2], part[3]);
      start = end;
    }
    for (int i = 0; i < whole.length; i++) {
      assertThat(values(cut[i])).isEqualTo(values(whole[i]));
    }
  }

  @Test
  void wrongShapesAndTypesAreRefused() {
    Tensor two = arena.zeros(DType.FLOAT32, 2);
    Tensor three = arena.zeros(DType.FLOAT32, 3);
    Tensor narrow = arena.zeros(DType.BFLOAT16, 2);
    AdamW update = new AdamW(1e-2, 0.9, 0.95, 1e-8, 0.1, 1, 1);
    assertRefused("adamW", () -> engine.adamW(update, two, three, two, two));
    assertRefused("adamW", () -> engine.adamW(update, narrow, narrow, narrow, narrow));
    assertRefused(
        "adamW",
        () -> engine.adamW(new AdamW(1e-2, 0.9, 0.95, 1e-8, 0.1, 1, 0), two, two, two, two));
    assertRefused("sgd", () -> engine.sgd(new Sgd(0.1, 0, false, 0, 1), two, three, null));
    assertRefused("sgd", () -> engine.sgd(new Sgd(0.1, 0.9, false, 0, 1), two, two, null));
  }
}
