package dev.phalanx.parallelism.pipeline;

import java.util.BitSet;
import java.util.List;
import java.util.Locale;

/** A schedule as a picture: a row for each rank, time from left to right. */
public final class ScheduleDrawing {
  /** Longer ones are scaled down to it. */
  private static final int MOST_COLUMNS = 160;

  private static final int COLUMNS_OF_LABEL = 4;
  private static final double PIXELS = 1200;
  private static final int ROW_PIXELS = 26;
  private static final int MARGIN_PIXELS = 70;
  private static final double LABEL_PIXELS = 14;

  private ScheduleDrawing() {}

  /**
   * In characters: each action is its letter and, where there is room, its micro-batch; what is
   * idle is dots. Of ranks with several stages the second one's letters are small, and so on in
   * turn.
   */
  public static String text(ScheduleTiming timing) {
    double shortest =
        timing.ranks().stream()
            .flatMap(List::stream)
            .mapToDouble(slot -> slot.end() - slot.start())
            .filter(duration -> duration > 0)
            .min()
            .orElse(1);
    double columnsPerUnit =
        Math.min(COLUMNS_OF_LABEL / shortest, MOST_COLUMNS / Math.max(timing.makespan(), shortest));
    StringBuilder picture = new StringBuilder();
    int digits = Integer.toString(timing.ranks().size() - 1).length();
    for (int rank = 0; rank < timing.ranks().size(); rank++) {
      picture.append(String.format(Locale.ROOT, "rank %" + digits + "d  ", rank));
      picture.append(row(timing, rank, columnsPerUnit)).append('\n');
    }
    return picture.toString();
  }

  /** Of a rank's stages, which are drawn otherwise than their neighbours. */
  private static BitSet everySecond(List<Integer> stages) {
    BitSet others = new BitSet();
    for (int place = 1; place < stages.size(); place += 2) {
      others.set(stages.get(place));
    }
    return others;
  }

  private static String row(ScheduleTiming timing, int rank, double columnsPerUnit) {
    int columns = (int) Math.round(timing.makespan() * columnsPerUnit);
    StringBuilder row = new StringBuilder(".".repeat(columns));
    BitSet others = everySecond(timing.table().stagesOf(rank));
    for (ScheduleTiming.Slot slot : timing.ranks().get(rank)) {
      int from = (int) Math.round(slot.start() * columnsPerUnit);
      int to = Math.min(row.length(), (int) Math.round(slot.end() * columnsPerUnit));
      char letter = slot.action().kind().letter();
      boolean isOther = others.get(slot.action().stage());
      String label =
          (isOther ? Character.toLowerCase(letter) : letter)
              + Integer.toString(slot.action().microBatch());
      for (int column = from; column < to; column++) {
        int place = column - from;
        boolean fits = label.length() <= to - from;
        char shown = fits ? place < label.length() ? label.charAt(place) : '-' : label.charAt(0);
        row.setCharAt(column, shown);
      }
    }
    return row.toString();
  }

  /** As a picture of its own that any browser shows. */
  public static String svg(ScheduleTiming timing, String title) {
    int rows = timing.ranks().size();
    double width = PIXELS + 2 * MARGIN_PIXELS;
    int height = rows * ROW_PIXELS + 2 * MARGIN_PIXELS;
    double scale = PIXELS / Math.max(timing.makespan(), Double.MIN_NORMAL);
    StringBuilder picture = new StringBuilder();
    picture.append(
        String.format(
            Locale.ROOT,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%d\""
                + " font-family=\"sans-serif\" font-size=\"11\">%n<rect width=\"100%%\""
                + " height=\"100%%\" fill=\"white\"/>%n<text x=\"%d\" y=\"30\""
                + " font-size=\"15\">%s</text>%n",
            width,
            height,
            MARGIN_PIXELS,
            escaped(title)));
    for (int rank = 0; rank < rows; rank++) {
      double top = MARGIN_PIXELS + rank * ROW_PIXELS;
      picture.append(
          String.format(Locale.ROOT, "<text x=\"8\" y=\"%.1f\">rank %d</text>%n", top + 15, rank));
      BitSet others = everySecond(timing.table().stagesOf(rank));
      for (ScheduleTiming.Slot slot : timing.ranks().get(rank)) {
        append(
            picture,
            slot,
            MARGIN_PIXELS + slot.start() * scale,
            top,
            (slot.end() - slot.start()) * scale,
            others.get(slot.action().stage()));
      }
    }
    appendLegend(picture, MARGIN_PIXELS + rows * ROW_PIXELS + 30);
    return picture.append("</svg>\n").toString();
  }

  private static void append(
      StringBuilder picture,
      ScheduleTiming.Slot slot,
      double left,
      double top,
      double width,
      boolean isOther) {
    Action action = slot.action();
    picture.append(
        String.format(
            Locale.ROOT,
            "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\""
                + " fill-opacity=\"%s\" stroke=\"white\" stroke-width=\"0.5\"><title>%s: %.4g to"
                + " %.4g</title></rect>%n",
            left,
            top,
            width,
            ROW_PIXELS - 4,
            colour(action.kind()),
            isOther ? "0.6" : "1",
            action,
            slot.start(),
            slot.end()));
    if (width >= LABEL_PIXELS) {
      picture.append(
          String.format(
              Locale.ROOT,
              "<text x=\"%.2f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"white\""
                  + " pointer-events=\"none\">%d</text>%n",
              left + width / 2,
              top + 15,
              action.microBatch()));
    }
  }

  private static void appendLegend(StringBuilder picture, int top) {
    int left = MARGIN_PIXELS;
    for (Action.Kind kind : Action.Kind.values()) {
      picture.append(
          String.format(
              Locale.ROOT,
              "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"/><text x=\"%d\""
                  + " y=\"%d\">%s</text>%n",
              left,
              top,
              colour(kind),
              left + 20,
              top + 11,
              switch (kind) {
                case FORWARD -> "F forward";
                case BACKWARD -> "B backward";
                case BACKWARD_INPUT -> "I gradient of the input";
                case BACKWARD_WEIGHT -> "W gradients of the weights";
              }));
      left += 190;
    }
  }

  private static String colour(Action.Kind kind) {
    return switch (kind) {
      case FORWARD -> "#3b6fb6";
      case BACKWARD -> "#2e8b57";
      case BACKWARD_INPUT -> "#2a9d9d";
      case BACKWARD_WEIGHT -> "#c8792b";
    };
  }

  private static String escaped(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;");
  }
}
