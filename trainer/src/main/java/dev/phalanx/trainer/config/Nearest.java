package dev.phalanx.trainer.config;

import java.util.Collection;
import java.util.Comparator;
import java.util.Locale;
import java.util.Optional;

/** Finds the word that somebody who misspelt it most likely meant. */
final class Nearest {
  private Nearest() {}

  /**
   * The nearest of the known words, if one is near; letter case, {@code -} and {@code _} do not
   * count.
   */
  static Optional<String> of(String written, Collection<String> known) {
    String plain = plain(written);
    return known.stream()
        .min(Comparator.comparingInt(word -> distance(plain, plain(word))))
        .filter(word -> distance(plain, plain(word)) <= tolerance(plain))
        .or(() -> longerForm(plain, known));
  }

  private static Optional<String> longerForm(String plain, Collection<String> known) {
    return plain.length() < 3
        ? Optional.empty()
        : known.stream().filter(word -> plain(word).startsWith(plain)).findFirst();
  }

  private static String plain(String word) {
    return word.toLowerCase(Locale.ROOT).replace("_", "").replace("-", "");
  }

  private static int tolerance(String word) {
    if (word.length() <= 3) {
      return word.length() <= 1 ? 0 : 1;
    }
    return word.length() <= 8 ? 2 : 3;
  }

  /**
   * Letters to insert, delete, replace or swap with their neighbour to turn one word into the other
   * (the optimal string alignment distance of Damerau, 1964).
   */
  static int distance(String left, String right) {
    int[][] cost = new int[left.length() + 1][right.length() + 1];
    for (int i = 0; i <= left.length(); i++) {
      for (int j = 0; j <= right.length(); j++) {
        if (i == 0 || j == 0) {
          cost[i][j] = i + j;
          continue;
        }
        int replace = left.charAt(i - 1) == right.charAt(j - 1) ? 0 : 1;
        int best = Math.min(cost[i - 1][j], cost[i][j - 1]) + 1;
        best = Math.min(best, cost[i - 1][j - 1] + replace);
        if (i > 1
            && j > 1
            && left.charAt(i - 1) == right.charAt(j - 2)
            && left.charAt(i - 2) == right.charAt(j - 1)) {
          best = Math.min(best, cost[i - 2][j - 2] + 1);
        }
        cost[i][j] = best;
      }
    }
    return cost[left.length()][right.length()];
  }
}
