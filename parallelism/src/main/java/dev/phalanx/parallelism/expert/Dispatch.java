package dev.phalanx.parallelism.expert;

import java.util.Arrays;

/**
 * The order in which rows go to experts: those of the first expert first, and of one expert in the
 * order of tokens, so that sums do not depend on who computes them.
 *
 * @param choices [n * k]: which choice of all tokens each row is
 * @param rows [n * k]: the other way round
 * @param counts [experts] of rows
 */
record Dispatch(long[] choices, long[] rows, long[] counts) {
  /**
   * @param chosen [n * k], the k experts of the first token, of the second one and so on
   */
  static Dispatch of(int[] chosen, int experts) {
    long[] counts = new long[experts];
    for (int expert : chosen) {
      counts[expert]++;
    }
    long[] next = starts(counts);
    long[] choices = new long[chosen.length];
    long[] rows = new long[chosen.length];
    for (int choice = 0; choice < chosen.length; choice++) {
      long row = next[chosen[choice]]++;
      choices[Math.toIntExact(row)] = choice;
      rows[choice] = row;
    }
    return new Dispatch(choices, rows, counts);
  }

  /** Which token each row is of, [n * k]. */
  long[] tokens(int perToken) {
    long[] tokens = new long[choices.length];
    Arrays.setAll(tokens, row -> choices[row] / perToken);
    return tokens;
  }

  /** How many rows go to each of some ranks, which have as many experts each. */
  long[] countsOfRanks(int ranks) {
    int own = counts.length / ranks;
    long[] ofRanks = new long[ranks];
    for (int expert = 0; expert < counts.length; expert++) {
      ofRanks[expert / own] += counts[expert];
    }
    return ofRanks;
  }

  private static long[] starts(long[] counts) {
    long[] starts = new long[counts.length];
    for (int i = 1; i < counts.length; i++) {
      starts[i] = starts[i - 1] + counts[i - 1];
    }
    return starts;
  }

  /**
   * Rows as they have come from several ranks, brought together by expert.
   *
   * @param sorted [m]: which row as it came is each one as experts take it
   * @param back [m]: the other way round
   * @param counts [own experts] of rows
   * @param ofRanks [ranks]: how many rows have come from each
   */
  record Arrived(long[] sorted, long[] back, long[] counts, long[] ofRanks) {
    /**
     * @param counts [ranks * own experts]: rank after rank, for each expert here
     */
    static Arrived of(long[] counts, int ranks) {
      int own = counts.length / ranks;
      long[] starts = starts(counts);
      int total = Math.toIntExact(Arrays.stream(counts).sum());
      long[] sorted = new long[total];
      long[] back = new long[total];
      long[] ofExperts = new long[own];
      long[] ofRanks = new long[ranks];
      int row = 0;
      for (int expert = 0; expert < own; expert++) {
        for (int source = 0; source < ranks; source++) {
          int from = source * own + expert;
          for (long i = 0; i < counts[from]; i++) {
            sorted[row] = starts[from] + i;
            back[Math.toIntExact(starts[from] + i)] = row;
            row++;
          }
          ofExperts[expert] += counts[from];
          ofRanks[source] += counts[from];
        }
      }
      return new Arrived(sorted, back, ofExperts, ofRanks);
    }
  }
}
