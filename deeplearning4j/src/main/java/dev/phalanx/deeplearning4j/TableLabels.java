package dev.phalanx.deeplearning4j;

import java.util.List;

/** The labels of a table's rows. */
sealed interface TableLabels {

  /** Numbers a row. */
  int width();

  List<String> classes();

  /** Writes those of a row to where there are zeros. */
  void copy(int row, float[] target, int offset);

  /**
   * Numbers to predict.
   *
   * @param all [rows, width]
   */
  @SuppressWarnings("ArrayRecordComponent")
  record Values(float[] all, int width) implements TableLabels {
    @Override
    public List<String> classes() {
      return List.of();
    }

    @Override
    public void copy(int row, float[] target, int offset) {
      System.arraycopy(all, row * width, target, offset, width);
    }
  }

  /**
   * A class each.
   *
   * @param ofRows the class of each row
   */
  @SuppressWarnings("ArrayRecordComponent")
  record OneHot(int[] ofRows, ClassCodes codes) implements TableLabels {
    @Override
    public int width() {
      return codes.classes();
    }

    @Override
    public List<String> classes() {
      return codes.names();
    }

    @Override
    public void copy(int row, float[] target, int offset) {
      target[offset + ofRows[row]] = 1;
    }
  }
}
