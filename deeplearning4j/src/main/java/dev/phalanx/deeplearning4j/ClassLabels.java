package dev.phalanx.deeplearning4j;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.function.LongFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Gathers a column of labels that are classes, row by row, and codes them. */
final class ClassLabels {
  private final int classes;
  private final @Nullable ClassCodes known;
  private final Map<String, Integer> words = new HashMap<>(); // in the order of appearance, if new
  private final IntStream.Builder rows = IntStream.builder();
  private final LongFunction<String> place;
  private @Nullable String number; // one of the labels that are numbers

  /**
   * @param known the codes of the table that this one is to be like; null where it makes its own
   * @param place says where a row's label stands
   */
  ClassLabels(int classes, @Nullable ClassCodes known, LongFunction<String> place) {
    this.classes = classes;
    this.known = known;
    this.place = place;
    if (known != null) {
      words.putAll(known.codes());
    }
  }

  void add(String label, long row) throws IOException {
    double value = Decimals.toDouble(label);
    if (!Double.isNaN(value)) {
      add(value, label, row);
    } else if (label.isEmpty()) {
      throw new IOException(place.apply(row) + " has no label. Fill it in or leave the row out.");
    } else {
      addWord(label, row);
    }
  }

  void add(double label, long row) throws IOException {
    add(label, Double.toString(label), row);
  }

  private void add(double value, String label, long row) throws IOException {
    if (value != Math.rint(value) || value < 0 || value >= classes) {
      throw new IOException(
          String.format(
              "%s is %s. Labels of %d classes are whole numbers from 0 to %d, or words; `classes:"
                  + " 0` predicts numbers.",
              place.apply(row), label, classes, classes - 1));
    }
    if (!words.isEmpty()) {
      throw mixed(row, label, words.keySet().iterator().next());
    }
    number = label;
    rows.add((int) value);
  }

  private void addWord(String label, long row) throws IOException {
    String seen = number;
    if (seen != null || (known != null && known.areNumbers())) {
      throw mixed(row, label, seen == null ? "0" : seen);
    }
    Integer code = words.get(label);
    if (code == null) {
      code = words.size();
      if (known != null) {
        throw new IOException(
            String.format(
                "%s is \"%s\", which is none of the classes of the training table: %s.",
                place.apply(row), label, String.join(", ", known.words())));
      }
      if (code == classes) {
        throw new IOException(
            String.format(
                "%s is \"%s\", a label more than there are classes: %s are %d already.",
                place.apply(row), label, String.join(", ", words.keySet()), classes));
      }
      words.put(label, code);
    }
    rows.add(code);
  }

  private IOException mixed(long row, String label, String other) {
    return new IOException(
        String.format(
            "%s is \"%s\" where other labels are such as \"%s\". Labels are numbers or words, not"
                + " both.",
            place.apply(row), label, other));
  }

  TableLabels.OneHot coded() {
    if (known != null) {
      return new TableLabels.OneHot(rows.build().toArray(), known);
    }
    ClassCodes codes = ClassCodes.ofWords(classes, words.keySet());
    int[] sorted = new int[words.size()];
    codes.codes().forEach((word, code) -> sorted[words.getOrDefault(word, 0)] = code);
    return new TableLabels.OneHot(
        rows.build().map(row -> codes.areNumbers() ? row : sorted[row]).toArray(), codes);
  }
}
