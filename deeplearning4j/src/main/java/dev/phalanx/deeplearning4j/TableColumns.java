package dev.phalanx.deeplearning4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * What the columns of a {@link Table} are. A column is its name or, where no column has that name,
 * its number from 0.
 *
 * @param labels the columns with labels, one or more
 * @param classes of a classification, which has one column of labels: whole numbers from 0 to
 *     {@code classes - 1}, or as many different words at most; 0 where the labels are numbers to
 *     predict
 * @param features the columns with features, in their order; empty: all that are no labels
 */
public record TableColumns(List<String> labels, int classes, List<String> features) {
  private static final int NAMES_IN_MESSAGES = 20;

  public TableColumns {
    labels = List.copyOf(labels);
    features = List.copyOf(features);
    if (labels.isEmpty()) {
      throw new IllegalArgumentException("A table needs a column of labels");
    }
    if (classes < 0 || classes == 1) {
      throw new IllegalArgumentException(
          "A classification has 2 classes or more, or 0 to predict numbers, not " + classes);
    }
    if (classes > 0 && labels.size() > 1) {
      throw new IllegalArgumentException(
          "A classification has one column of labels, not " + labels.size() + ": " + labels);
    }
    Set<String> seen = new HashSet<>();
    for (List<String> columns : List.of(labels, features)) {
      for (String column : columns) {
        if (!seen.add(column)) {
          throw new IllegalArgumentException("The column \"" + column + "\" is named twice");
        }
      }
    }
  }

  /** Whether some are columns that only a name can find. */
  boolean needNames() {
    return labels.stream().anyMatch(column -> !isNumber(column))
        || features.stream().anyMatch(column -> !isNumber(column));
  }

  private static boolean isNumber(String column) {
    return !column.isEmpty() && column.chars().allMatch(digit -> digit >= '0' && digit <= '9');
  }

  /** Where these columns stand in a file. */
  record Places(List<Integer> labels, List<Integer> features) {}

  /**
   * Finds the columns in a file.
   *
   * @param names of all its columns, or none where it has no header
   */
  Places in(Path file, List<String> names, int width) throws IOException {
    List<Integer> labelPlaces = places(file, labels, names, width);
    List<Integer> featurePlaces = places(file, features, names, width);
    if (features.isEmpty()) {
      featurePlaces =
          IntStream.range(0, width).boxed().filter(place -> !labelPlaces.contains(place)).toList();
    }
    if (featurePlaces.isEmpty()) {
      throw new IOException(
          file + " has no column beside the labels, so there is nothing to learn from.");
    }
    Set<Integer> seen = new HashSet<>(labelPlaces);
    if (seen.size() < labelPlaces.size() || !featurePlaces.stream().allMatch(seen::add)) {
      throw new IOException(
          String.format(
              "%s: labels %s and features %s are the same column twice. Name each column once.",
              file, labels, features));
    }
    return new Places(labelPlaces, featurePlaces);
  }

  private static List<Integer> places(
      Path file, List<String> columns, List<String> names, int width) throws IOException {
    List<Integer> places = new ArrayList<>();
    for (String column : columns) {
      places.add(place(file, column, names, width));
    }
    return List.copyOf(places);
  }

  private static int place(Path file, String column, List<String> names, int width)
      throws IOException {
    int place = names.indexOf(column);
    if (place >= 0) {
      if (names.lastIndexOf(column) != place) {
        throw new IOException(
            String.format(
                "%s has the column \"%s\" more than once. Give the column's number, from 0.",
                file, column));
      }
      return place;
    }
    if (isNumber(column) && column.length() < 10 && Integer.parseInt(column) < width) {
      return Integer.parseInt(column);
    }
    throw new NoSuchColumnException(
        column,
        names.isEmpty()
            ? String.format(
                "%s has no column \"%s\". It has no names, and the numbers 0 to %d.",
                file, column, width - 1)
            : String.format("%s has no column \"%s\". It has %s.", file, column, shown(names)));
  }

  private static String shown(List<String> names) {
    return names.size() <= NAMES_IN_MESSAGES
        ? String.join(", ", names)
        : String.join(", ", names.subList(0, NAMES_IN_MESSAGES))
            + " and "
            + (names.size() - NAMES_IN_MESSAGES)
            + " more";
  }

  /** The columns at these places, so that another file has to have just them. */
  TableColumns of(Places places, List<String> names) {
    boolean areNamesUnique = !names.isEmpty() && new HashSet<>(names).size() == names.size();
    return new TableColumns(
        named(places.labels(), names, areNamesUnique),
        classes,
        named(places.features(), names, areNamesUnique));
  }

  private static List<String> named(List<Integer> places, List<String> names, boolean byName) {
    return places.stream()
        .map(place -> byName ? names.get(place) : Integer.toString(place))
        .toList();
  }
}
