package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.LossRows;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import java.util.Arrays;

/**
 * Softmax and cross-entropy, of all columns or of some, by rows.
 *
 * <p>Between forward and backward the logits are their softmax, or those of a part their
 * exponentials under the row's maximum: the backward takes no exponential again.
 */
final class Losses {
  private final Exponential exponential = new Exponential();
  private final FloatPiece rows = new FloatPiece();
  private final FloatPiece numbers = new FloatPiece();
  private final FloatPiece sums = new FloatPiece();
  private final FloatPiece picked = new FloatPiece();

  void softmax(Tensor x, Tensor out) {
    Arguments.alike("softmax", x, out);
    long from = Floats.address("softmax", x);
    long to = Floats.address("softmax", out);
    if (x.elementCount() == 0) {
      return;
    }
    int width = Math.toIntExact(x.size(-1));
    long count = x.elementCount() / width;
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < count; start += most) {
      int some = (int) Math.min(most, count - start);
      float[] values = rows.read(Floats.at(from, start * width), some * width);
      for (int row = 0; row < some; row++) {
        int at = row * width;
        FloatRows.subtract(values, at, width, FloatRows.largest(values, at, width));
      }
      exponential.apply(values, some * width);
      for (int row = 0; row < some; row++) {
        int at = row * width;
        FloatRows.scale(values, at, width, 1 / FloatRows.sum(values, at, width));
      }
      rows.write(Floats.at(to, start * width), some * width);
    }
  }

  void crossEntropy(Tensor logits, Tensor targets, Tensor losses) {
    EngineContract.crossEntropy(logits, targets, losses);
    long matrix = Floats.address("crossEntropy", logits);
    long results = Floats.address("crossEntropy", losses);
    int width = Math.toIntExact(logits.size(1));
    LongBuffer target = LossRows.longs(targets);
    for (int row = 0; row < target.limit(); row++) {
      EngineContract.target(target.get(row), row, width);
    }
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < logits.size(0); start += most) {
      int some = (int) Math.min(most, logits.size(0) - start);
      float[] values = rows.read(Floats.at(matrix, start * width), some * width);
      float[] loss = numbers.room(some);
      for (int row = 0; row < some; row++) {
        int at = row * width;
        FloatRows.subtract(values, at, width, FloatRows.largest(values, at, width));
        int column = (int) target.get((int) start + row);
        loss[row] = column < 0 ? 0 : -values[at + column];
      }
      exponential.apply(values, some * width);
      for (int row = 0; row < some; row++) {
        float sum = FloatRows.sum(values, row * width, width);
        FloatRows.scale(values, row * width, width, 1 / sum);
        if (target.get((int) start + row) >= 0) {
          loss[row] += (float) Math.log(sum);
        }
      }
      rows.write(Floats.at(matrix, start * width), some * width);
      numbers.write(Floats.at(results, start), some);
    }
  }

  void crossEntropyBackward(Tensor logits, Tensor targets, double scale) {
    EngineContract.crossEntropyBackward(logits, targets);
    long matrix = Floats.address("crossEntropyBackward", logits);
    int width = Math.toIntExact(logits.size(1));
    LongBuffer target = LossRows.longs(targets);
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < logits.size(0); start += most) {
      int some = (int) Math.min(most, logits.size(0) - start);
      float[] values = rows.read(Floats.at(matrix, start * width), some * width);
      for (int row = 0; row < some; row++) {
        long column = target.get((int) start + row);
        EngineContract.target(column, start + row, width);
        finish(values, row * width, width, (float) scale, column >= 0);
        if (column >= 0) {
          values[row * width + (int) column] -= (float) scale;
        }
      }
      rows.write(Floats.at(matrix, start * width), some * width);
    }
  }

  /** Scales probabilities, or clears the row of no target: it may hold what is no number. */
  private static void finish(
      float[] values, int start, int width, float factor, boolean hasTarget) {
    if (hasTarget) {
      FloatRows.scale(values, start, width, factor);
    } else {
      Arrays.fill(values, start, start + width, 0);
    }
  }

  void rowMaxima(Tensor x, Tensor maxima) {
    EngineContract.rowMaxima(x, maxima);
    long from = Floats.address("rowMaxima", x);
    long to = Floats.address("rowMaxima", maxima);
    int width = Math.toIntExact(x.size(1));
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < x.size(0); start += most) {
      int some = (int) Math.min(most, x.size(0) - start);
      float[] values = rows.read(Floats.at(from, start * width), some * width);
      float[] largest = numbers.room(some);
      for (int row = 0; row < some; row++) {
        largest[row] = FloatRows.largest(values, row * width, width);
      }
      numbers.write(Floats.at(to, start), some);
    }
  }

  void part(
      Tensor logits,
      long firstColumn,
      Tensor targets,
      Tensor maxima,
      Tensor sumOfRows,
      Tensor pickedOfRows) {
    EngineContract.crossEntropyPart(logits, firstColumn, targets, maxima, sumOfRows, pickedOfRows);
    String kernel = "crossEntropyPart";
    long matrix = Floats.address(kernel, logits);
    int width = Math.toIntExact(logits.size(1));
    long[] columns = LossRows.columns(targets, firstColumn, width);
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < logits.size(0); start += most) {
      int some = (int) Math.min(most, logits.size(0) - start);
      float[] values = rows.read(Floats.at(matrix, start * width), some * width);
      float[] largest = numbers.read(Floats.at(maxima.address(), start), some);
      float[] sum = sums.room(some);
      float[] own = picked.room(some);
      for (int row = 0; row < some; row++) {
        int at = row * width;
        FloatRows.subtract(values, at, width, largest[row]);
        long column = columns[(int) start + row];
        own[row] = column < 0 ? 0 : values[at + (int) column];
      }
      exponential.apply(values, some * width);
      for (int row = 0; row < some; row++) {
        sum[row] = FloatRows.sum(values, row * width, width);
      }
      rows.write(Floats.at(matrix, start * width), some * width);
      sums.write(Floats.at(Floats.address(kernel, sumOfRows), start), some);
      picked.write(Floats.at(Floats.address(kernel, pickedOfRows), start), some);
    }
  }

  void partBackward(
      Tensor logits,
      long firstColumn,
      Tensor targets,
      Tensor maxima,
      Tensor sumOfRows,
      double scale) {
    EngineContract.crossEntropyPartBackward(logits, firstColumn, targets, maxima, sumOfRows);
    long matrix = Floats.address("crossEntropyPartBackward", logits);
    int width = Math.toIntExact(logits.size(1));
    long[] columns = LossRows.columns(targets, firstColumn, width);
    LongBuffer target = LossRows.longs(targets);
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < logits.size(0); start += most) {
      int some = (int) Math.min(most, logits.size(0) - start);
      float[] values = rows.read(Floats.at(matrix, start * width), some * width);
      float[] sum = sums.read(Floats.at(sumOfRows.address(), start), some);
      for (int row = 0; row < some; row++) {
        long column = columns[(int) start + row];
        boolean hasTarget = target.get((int) start + row) >= 0;
        finish(values, row * width, width, (float) (scale / sum[row]), hasTarget);
        if (column >= 0) {
          values[row * width + (int) column] -= (float) scale;
        }
      }
      rows.write(Floats.at(matrix, start * width), some * width);
    }
  }
}
