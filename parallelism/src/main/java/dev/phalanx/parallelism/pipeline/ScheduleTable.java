package dev.phalanx.parallelism.pipeline;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.ToIntFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * A pipeline schedule: what each rank computes, in its order. A rank may hold several stages. Every
 * table is complete: each micro-batch goes forward once and backward once through every stage, and
 * each stage is on one rank.
 *
 * <p>As text a table has one line for each rank, as PyTorch's files have: actions between commas or
 * spaces, nothing where a rank has nothing to do. What follows a {@code #} is a comment.
 *
 * <pre>
 *   0F0 0F1 0B0 0B1
 *   1F0 1B0 1F1 1B1
 * </pre>
 */
public final class ScheduleTable {
  private static final long LARGEST_BYTES = 64L << 20;

  private final List<List<Action>> ranks;
  private final List<List<Integer>> stagesOfRank;
  private final int[] rankOfStage;
  private final int microBatches;

  /**
   * @param ranks each rank's actions in their order
   * @throws ScheduleException where the table is not complete; whether ranks would wait for each
   *     other for ever is found by {@link ScheduleSimulator}
   */
  public ScheduleTable(List<List<Action>> ranks) {
    this.ranks = ranks.stream().map(List::copyOf).toList();
    int stages = 1 + largest(Action::stage);
    this.microBatches = 1 + largest(Action::microBatch);
    this.rankOfStage = new int[stages];
    requireComplete();
    this.stagesOfRank =
        IntStream.range(0, ranks.size())
            .mapToObj(
                rank ->
                    IntStream.range(0, stages)
                        .filter(stage -> rankOfStage[stage] == rank)
                        .boxed()
                        .toList())
            .toList();
  }

  private int largest(ToIntFunction<Action> part) {
    return ranks.stream()
        .flatMap(List::stream)
        .mapToInt(part)
        .max()
        .orElseThrow(() -> new ScheduleException("the table has no action"));
  }

  private void requireComplete() {
    Arrays.fill(rankOfStage, -1);
    Set<Action> all = new HashSet<>();
    for (int rank = 0; rank < ranks.size(); rank++) {
      for (Action action : ranks.get(rank)) {
        int holder = rankOfStage[action.stage()];
        if (holder >= 0 && holder != rank) {
          throw new ScheduleException(
              "stage "
                  + action.stage()
                  + " is on rank "
                  + holder
                  + " and, with "
                  + action
                  + ", on rank "
                  + rank);
        }
        rankOfStage[action.stage()] = rank;
        if (!all.add(action)) {
          throw new ScheduleException(action + " stands twice on rank " + rank);
        }
      }
    }
    for (int stage = 0; stage < rankOfStage.length; stage++) {
      if (rankOfStage[stage] < 0) {
        throw new ScheduleException("no rank has stage " + stage + ", though there is a later one");
      }
      for (int microBatch = 0; microBatch < microBatches; microBatch++) {
        requireWork(all, stage, microBatch);
      }
    }
    for (int rank = 0; rank < ranks.size(); rank++) {
      if (ranks.get(rank).isEmpty()) {
        throw new ScheduleException("rank " + rank + " has nothing to do");
      }
    }
  }

  private static void requireWork(Set<Action> all, int stage, int microBatch) {
    Action forward = new Action(stage, Action.Kind.FORWARD, microBatch);
    Action backward = new Action(stage, Action.Kind.BACKWARD, microBatch);
    Action input = new Action(stage, Action.Kind.BACKWARD_INPUT, microBatch);
    Action weight = new Action(stage, Action.Kind.BACKWARD_WEIGHT, microBatch);
    if (!all.contains(forward)) {
      throw new ScheduleException(forward + " is missing");
    }
    if (all.contains(backward)) {
      if (all.contains(input) || all.contains(weight)) {
        throw new ScheduleException(
            backward
                + " is a whole backward pass, and there is "
                + (all.contains(input) ? input : weight)
                + " too");
      }
    } else if (!all.contains(input) || !all.contains(weight)) {
      boolean hasHalf = all.contains(input) || all.contains(weight);
      throw new ScheduleException(
          hasHalf
              ? (all.contains(input) ? weight : input) + " is missing"
              : backward + ", or " + input + " and " + weight + ", is missing");
    }
  }

  /**
   * What a file says that should hold a table, for {@link #parse}.
   *
   * @throws ScheduleException where there is no such file, or it is no text or too large for one
   * @throws IOException where it cannot be read
   */
  public static String text(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new ScheduleException(
          Files.isDirectory(file)
              ? file + " is a folder, not a file with a table"
              : "there is no schedule of that name, and no file " + file);
    }
    if (Files.size(file) > LARGEST_BYTES) {
      throw new ScheduleException(
          "the table " + file + " is larger than " + (LARGEST_BYTES >> 20) + " MiB");
    }
    try {
      return Files.readString(file);
    } catch (CharacterCodingException e) {
      throw new ScheduleException(file + " is no text, and a table is");
    }
  }

  /**
   * The inverse of {@link #text}.
   *
   * @throws ScheduleException with the line of what is wrong
   */
  public static ScheduleTable parse(String text) {
    List<List<Action>> ranks = new ArrayList<>();
    int number = 0;
    for (String line : text.lines().toList()) {
      number++;
      String actions = line.replaceFirst("#.*", "").trim();
      if (actions.isEmpty()) {
        continue;
      }
      List<Action> ofRank = new ArrayList<>();
      for (String action : actions.split("[,\\s]+")) {
        if (!action.isEmpty()) {
          try {
            ofRank.add(Action.parse(action));
          } catch (ScheduleException e) {
            throw new ScheduleException("line " + number + ": " + e.getMessage());
          }
        }
      }
      ranks.add(ofRank);
    }
    return new ScheduleTable(ranks);
  }

  public String text() {
    return ranks.stream()
        .map(
            actions ->
                actions.stream().map(Action::toString).collect(Collectors.joining(" ", "", "\n")))
        .collect(Collectors.joining());
  }

  /** What each rank computes, in its order. */
  public List<List<Action>> ranks() {
    return ranks;
  }

  public int stages() {
    return rankOfStage.length;
  }

  public int microBatches() {
    return microBatches;
  }

  public int rankOf(int stage) {
    return rankOfStage[stage];
  }

  /** The stages of a rank, in ascending order. */
  public List<Integer> stagesOf(int rank) {
    return stagesOfRank.get(rank);
  }

  /**
   * The most micro-batches whose activations a rank holds at once, from a forward pass to the end
   * of the backward pass. Of a rank with several stages each counts for its part.
   */
  public double peakMicroBatches(int rank) {
    int live = 0;
    int peak = 0;
    for (Action action : ranks.get(rank)) {
      if (action.kind() == Action.Kind.FORWARD) {
        live++;
      } else if (action.freesActivations()) {
        live--;
      }
      peak = Math.max(peak, live);
    }
    return (double) peak / stagesOf(rank).size();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof ScheduleTable table && ranks.equals(table.ranks);
  }

  @Override
  public int hashCode() {
    return ranks.hashCode();
  }

  @Override
  public String toString() {
    return text();
  }
}
