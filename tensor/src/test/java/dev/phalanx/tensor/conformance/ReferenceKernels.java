package dev.phalanx.tensor.conformance;

import java.util.Arrays;
import java.util.function.DoubleUnaryOperator;

/**
 * The kernels once more, in plain Java and double precision, as their definitions read. Matrices
 * are arrays row by row.
 */
final class ReferenceKernels {
  private ReferenceKernels() {}

  static double[] map(double[] x, DoubleUnaryOperator operation) {
    return Arrays.stream(x).map(operation).toArray();
  }

  static double[] add(double[] a, double[] b) {
    double[] sum = new double[a.length];
    Arrays.setAll(sum, i -> a[i] + b[i]);
    return sum;
  }

  static double[] multiply(double[] a, double[] b) {
    double[] product = new double[a.length];
    Arrays.setAll(product, i -> a[i] * b[i]);
    return product;
  }

  static double[] absolute(double[] x) {
    return map(x, Math::abs);
  }

  static double[] transpose(double[] x, int rows, int columns) {
    double[] transposed = new double[x.length];
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < columns; j++) {
        transposed[j * rows + i] = x[i * columns + j];
      }
    }
    return transposed;
  }

  /** a [m, k] times b [k, n]. */
  static double[] matmul(double[] a, double[] b, int m, int k, int n) {
    double[] product = new double[m * n];
    for (int i = 0; i < m; i++) {
      for (int l = 0; l < k; l++) {
        for (int j = 0; j < n; j++) {
          product[i * n + j] += a[i * k + l] * b[l * n + j];
        }
      }
    }
    return product;
  }

  static double[] sumRows(double[] x, int rows, int columns) {
    double[] sums = new double[columns];
    for (int i = 0; i < rows * columns; i++) {
      sums[i % columns] += x[i];
    }
    return sums;
  }

  static double gelu(double x) {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
  }

  static double geluSlope(double x) {
    double factor = Math.sqrt(2 / Math.PI);
    double tanh = Math.tanh(factor * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * factor * (1 + 3 * 0.044715 * x * x);
  }

  static double silu(double x) {
    return x / (1 + Math.exp(-x));
  }

  static double siluSlope(double x) {
    double sigmoid = 1 / (1 + Math.exp(-x));
    return sigmoid * (1 + x * (1 - sigmoid));
  }

  /** Softmax of each row. */
  static double[] softmax(double[] x, int rows, int columns) {
    return map(logSoftmax(x, rows, columns), Math::exp);
  }

  static double[] logSoftmax(double[] x, int rows, int columns) {
    double[] result = new double[x.length];
    for (int i = 0; i < rows; i++) {
      double[] row = Arrays.copyOfRange(x, i * columns, (i + 1) * columns);
      double logSum = logSumExp(row);
      for (int j = 0; j < columns; j++) {
        result[i * columns + j] = row[j] - logSum;
      }
    }
    return result;
  }

  static double logSumExp(double[] row) {
    double largest = Arrays.stream(row).max().orElse(Double.NEGATIVE_INFINITY);
    return largest + Math.log(Arrays.stream(row).map(v -> Math.exp(v - largest)).sum());
  }

  /** A norm's results: the rows, and for each row its mean and one over its deviation. */
  record Norm(double[] out, double[] mean, double[] rstd) {}

  /** LayerNorm, or RMSNorm where it is not {@code centered}: the mean is taken as 0. */
  static Norm norm(
      double[] x, double[] weight, double[] bias, boolean centered, double epsilon, int rows) {
    int columns = weight.length;
    Norm norm = new Norm(new double[x.length], new double[rows], new double[rows]);
    for (int i = 0; i < rows; i++) {
      double[] row = Arrays.copyOfRange(x, i * columns, (i + 1) * columns);
      double mean = centered ? Arrays.stream(row).average().orElse(0) : 0;
      double variance = Arrays.stream(row).map(v -> (v - mean) * (v - mean)).average().orElse(0);
      norm.mean[i] = mean;
      norm.rstd[i] = 1 / Math.sqrt(variance + epsilon);
      for (int j = 0; j < columns; j++) {
        norm.out[i * columns + j] = (row[j] - mean) * norm.rstd[i] * weight[j] + bias[j];
      }
    }
    return norm;
  }

  /** Gradients of a norm by its inputs. */
  record NormGradients(double[] x, double[] weight, double[] bias) {}

  static NormGradients normBackward(
      double[] dy, double[] x, double[] weight, boolean centered, double epsilon, int rows) {
    int columns = weight.length;
    Norm norm = norm(x, weight, new double[columns], centered, epsilon, rows);
    NormGradients gradients =
        new NormGradients(new double[x.length], new double[columns], new double[columns]);
    for (int i = 0; i < rows; i++) {
      double meanOfG = 0;
      double meanOfGx = 0;
      for (int j = 0; j < columns; j++) {
        int at = i * columns + j;
        double normalized = (x[at] - norm.mean[i]) * norm.rstd[i];
        gradients.weight[j] += dy[at] * normalized;
        gradients.bias[j] += dy[at];
        meanOfG += centered ? dy[at] * weight[j] / columns : 0;
        meanOfGx += dy[at] * weight[j] * normalized / columns;
      }
      for (int j = 0; j < columns; j++) {
        int at = i * columns + j;
        double normalized = (x[at] - norm.mean[i]) * norm.rstd[i];
        gradients.x[at] = norm.rstd[i] * (dy[at] * weight[j] - meanOfG - normalized * meanOfGx);
      }
    }
    return gradients;
  }

  /** Sizes of an attention: batch, query and key positions, query and key heads, head width. */
  record Heads(int batch, int queries, int keys, int heads, int groups, int width) {
    int query(int b, int t, int h) {
      return ((b * queries + t) * heads + h) * width;
    }

    /** The key and value head that query head h reads. */
    int key(int b, int s, int h) {
      return ((b * keys + s) * groups + h / (heads / groups)) * width;
    }

    int statistic(int b, int h, int t) {
      return (b * heads + h) * queries + t;
    }

    int seen(int t, boolean causal) {
      return causal ? t + 1 : keys;
    }
  }

  /** Attention's results: [b, t, h, d] and [b, h, t]. */
  record Attended(double[] out, double[] logSumExp) {}

  static Attended attention(
      double[] q, double[] k, double[] v, Heads sizes, boolean causal, double scale) {
    Attended result =
        new Attended(new double[q.length], new double[sizes.batch * sizes.heads * sizes.queries]);
    forEachQuery(
        sizes,
        (b, t, h) -> {
          double[] scores = scores(q, k, sizes, b, t, h, causal, scale);
          double logSum = logSumExp(scores);
          result.logSumExp[sizes.statistic(b, h, t)] = logSum;
          for (int s = 0; s < scores.length; s++) {
            double weight = Math.exp(scores[s] - logSum);
            for (int i = 0; i < sizes.width; i++) {
              result.out[sizes.query(b, t, h) + i] += weight * v[sizes.key(b, s, h) + i];
            }
          }
        });
    return result;
  }

  /** Gradients of attention by query, key and value. */
  record AttentionGradients(double[] query, double[] key, double[] value) {}

  static AttentionGradients attentionBackward(
      double[] dOut,
      double[] q,
      double[] k,
      double[] v,
      Heads sizes,
      boolean causal,
      double scale) {
    AttentionGradients gradients =
        new AttentionGradients(new double[q.length], new double[k.length], new double[v.length]);
    forEachQuery(
        sizes,
        (b, t, h) -> {
          double[] scores = scores(q, k, sizes, b, t, h, causal, scale);
          double logSum = logSumExp(scores);
          int query = sizes.query(b, t, h);
          double[] dWeights = new double[scores.length];
          double mean = 0;
          for (int s = 0; s < scores.length; s++) {
            double weight = Math.exp(scores[s] - logSum);
            for (int i = 0; i < sizes.width; i++) {
              dWeights[s] += dOut[query + i] * v[sizes.key(b, s, h) + i];
              gradients.value[sizes.key(b, s, h) + i] += weight * dOut[query + i];
            }
            mean += weight * dWeights[s];
          }
          for (int s = 0; s < scores.length; s++) {
            double dScore = scale * Math.exp(scores[s] - logSum) * (dWeights[s] - mean);
            for (int i = 0; i < sizes.width; i++) {
              gradients.query[query + i] += dScore * k[sizes.key(b, s, h) + i];
              gradients.key[sizes.key(b, s, h) + i] += dScore * q[query + i];
            }
          }
        });
    return gradients;
  }

  private interface QueryAction {
    void accept(int batch, int position, int head);
  }

  private static void forEachQuery(Heads sizes, QueryAction action) {
    for (int b = 0; b < sizes.batch; b++) {
      for (int t = 0; t < sizes.queries; t++) {
        for (int h = 0; h < sizes.heads; h++) {
          action.accept(b, t, h);
        }
      }
    }
  }

  private static double[] scores(
      double[] q, double[] k, Heads sizes, int b, int t, int h, boolean causal, double scale) {
    double[] scores = new double[sizes.seen(t, causal)];
    for (int s = 0; s < scores.length; s++) {
      for (int i = 0; i < sizes.width; i++) {
        scores[s] += scale * q[sizes.query(b, t, h) + i] * k[sizes.key(b, s, h) + i];
      }
    }
    return scores;
  }
}
