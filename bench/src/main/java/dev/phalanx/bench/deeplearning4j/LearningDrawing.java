package dev.phalanx.bench.deeplearning4j;

import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import org.nd4j.evaluation.classification.ConfusionMatrix;

/** Accuracy over epochs, and beside it how often each class is taken for which. */
final class LearningDrawing {
  private static final int WIDTH = 900;
  private static final int HEIGHT = 400;
  private static final int LEFT = 50;
  private static final int TOP = 40;
  private static final int CURVE_WIDTH = 330;
  private static final int SIDE = 300;
  private static final int MATRIX_LEFT = 520;
  private static final String TRAINING_COLOR = "#c77d2e";
  private static final String TEST_COLOR = "#2b6cb0";

  private final StringBuilder svg = new StringBuilder();

  private LearningDrawing() {}

  static String svg(
      List<FashionMnist.Epoch> curve, ConfusionMatrix<Integer> confusion, List<String> classes) {
    LearningDrawing drawing = new LearningDrawing();
    drawing.begin();
    drawing.curve(curve);
    drawing.matrix(confusion, classes);
    return drawing.svg.append("</svg>\n").toString();
  }

  private void begin() {
    add(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\""
            + " font-size=\"12\">",
        WIDTH, HEIGHT);
    add("<rect width=\"%d\" height=\"%d\" fill=\"white\"/>", WIDTH, HEIGHT);
  }

  private void curve(List<FashionMnist.Epoch> curve) {
    double lowest =
        curve.stream()
            .mapToDouble(e -> Math.min(e.testAccuracy(), e.trainingAccuracy()))
            .min()
            .orElse(0);
    double floor = Math.floor(lowest * 50) / 50;
    text(LEFT, TOP - 18, "start", "accuracy after each epoch");
    for (double mark = floor; mark <= 1.0001; mark += 0.02) {
      double y = y(mark, floor);
      add(
          "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>",
          LEFT, y, LEFT + CURVE_WIDTH, y);
      text(LEFT - 6, y + 4, "end", String.format(Locale.ROOT, "%.0f %%", 100 * mark));
    }
    for (int epoch = 1; epoch <= curve.size(); epoch++) {
      text(x(epoch, curve.size()), TOP + SIDE + 18, "middle", Integer.toString(epoch));
    }
    text(LEFT + CURVE_WIDTH / 2.0, TOP + SIDE + 38, "middle", "epoch");
    line(curve, floor, TRAINING_COLOR, FashionMnist.Epoch::trainingAccuracy);
    line(curve, floor, TEST_COLOR, FashionMnist.Epoch::testAccuracy);
    legend(TOP + 18, TRAINING_COLOR, "10,000 of the training images");
    double reached = curve.get(curve.size() - 1).testAccuracy();
    legend(
        TOP + 40,
        TEST_COLOR,
        String.format(Locale.ROOT, "the 10,000 test images: %.2f %% at the end", 100 * reached));
  }

  private void line(
      List<FashionMnist.Epoch> curve,
      double floor,
      String color,
      ToDoubleFunction<FashionMnist.Epoch> value) {
    StringBuilder points = new StringBuilder();
    for (int i = 0; i < curve.size(); i++) {
      double y = y(value.applyAsDouble(curve.get(i)), floor);
      points.append(String.format(Locale.ROOT, "%.1f,%.1f ", x(i + 1, curve.size()), y));
    }
    add(
        "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>",
        points.toString().trim(), color);
  }

  private void legend(double y, String color, String label) {
    add(
        "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"2\"/>",
        LEFT + 60, y - 4, LEFT + 80, y - 4, color);
    text(LEFT + 86, y, "start", label);
  }

  private static double x(int epoch, int epochs) {
    return LEFT + 10 + (CURVE_WIDTH - 20.0) * (epoch - 1) / Math.max(1, epochs - 1);
  }

  private static double y(double accuracy, double floor) {
    return TOP + SIDE * (1 - accuracy) / (1 - floor);
  }

  private void matrix(ConfusionMatrix<Integer> confusion, List<String> classes) {
    int size = classes.size();
    double cell = (double) SIDE / size;
    text(MATRIX_LEFT, TOP - 18, "start", "of 1,000 test images each: rows are what they show,");
    text(MATRIX_LEFT, TOP - 4, "start", "columns what the network says");
    for (int actual = 0; actual < size; actual++) {
      text(MATRIX_LEFT - 6, TOP + (actual + 0.65) * cell, "end", classes.get(actual));
      for (int said = 0; said < size; said++) {
        int count = confusion.getCount(actual, said);
        double shade = Math.sqrt(count / 1000.0);
        double x = MATRIX_LEFT + said * cell;
        double y = TOP + actual * cell;
        add(
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\""
                + " fill-opacity=\"%.2f\" stroke=\"#eee\"/>",
            x, y, cell, cell, actual == said ? TEST_COLOR : TRAINING_COLOR, shade);
        if (count > 0) {
          add(
              "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" font-size=\"9\">%d</text>",
              x + cell / 2, y + cell / 2 + 3, count);
        }
      }
    }
    for (int said = 0; said < size; said++) {
      double x = MATRIX_LEFT + (said + 0.6) * cell;
      double y = TOP + SIDE + 8;
      add(
          "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" transform=\"rotate(-45 %.1f"
              + " %.1f)\">%s</text>",
          x, y, x, y, classes.get(said));
    }
  }

  private void text(double x, double y, String anchor, String text) {
    add("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>", x, y, anchor, text);
  }

  private void add(String format, Object... values) {
    svg.append(String.format(Locale.ROOT, format, values)).append('\n');
  }
}
