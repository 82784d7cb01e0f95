package dev.phalanx.checkpoint.safetensors;

import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;

/** Names of tensors as messages show them. They come from files, so they may be anything. */
final class Names {
  private static final int LONGEST = 120;
  private static final int MOST_COMPARED = 10_000;
  private static final int MOST_SHOWN = 3;

  private Names() {}

  /** In one line, without control characters, and not longer than a message bears. */
  static String label(String name) {
    return name.length() <= LONGEST
        ? oneLine(name)
        : oneLine(name.substring(0, LONGEST)) + "... (" + name.length() + " characters)";
  }

  static String oneLine(String text) {
    StringBuilder line = new StringBuilder(text.length());
    text.codePoints().forEach(c -> line.appendCodePoint(isPrintable(c) ? c : '?'));
    return line.toString();
  }

  private static boolean isPrintable(int c) {
    return switch (Character.getType(c)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR ->
          false;
      default -> true;
    };
  }

  /** " The nearest are a, b, c." for a message about a name that is not there. */
  static String nearest(String wanted, Collection<String> names) {
    if (names.isEmpty()) {
      return "";
    }
    record Distance(String name, int edits) {}
    List<Distance> distances =
        names.stream()
            .limit(MOST_COMPARED)
            .map(name -> new Distance(name, edits(cut(wanted), cut(name))))
            .sorted(Comparator.comparingInt(Distance::edits))
            .limit(MOST_SHOWN)
            .toList();
    return distances.stream()
        .map(distance -> label(distance.name()))
        .collect(Collectors.joining(", ", " The nearest are ", "."));
  }

  private static String cut(String name) {
    return name.substring(0, Math.min(LONGEST, name.length()));
  }

  /** Levenshtein's distance (1966), one row of the table at a time. */
  private static int edits(String a, String b) {
    int[] above = new int[b.length() + 1];
    Arrays.setAll(above, i -> i);
    for (int i = 1; i <= a.length(); i++) {
      int[] row = new int[b.length() + 1];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int replaced = above[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        row[j] = Math.min(replaced, 1 + Math.min(row[j - 1], above[j]));
      }
      above = row;
    }
    return above[b.length()];
  }
}
