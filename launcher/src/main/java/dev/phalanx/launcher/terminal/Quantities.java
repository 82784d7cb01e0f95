package dev.phalanx.launcher.terminal;

import dev.phalanx.trainer.Evaluation;
import java.util.Locale;
import java.util.OptionalDouble;

/** Numbers as people read them. */
public final class Quantities {
  private static final long MEBIBYTE = 1L << 20;

  private Quantities() {}

  /** {@code 0:42}, {@code 12:05}, {@code 1:02:03}. */
  public static String duration(double seconds) {
    long whole = Math.max(0, Math.round(seconds));
    long hours = whole / 3600;
    long minutes = whole / 60 % 60;
    return hours > 0
        ? String.format(Locale.ROOT, "%d:%02d:%02d", hours, minutes, whole % 60)
        : String.format(Locale.ROOT, "%d:%02d", minutes, whole % 60);
  }

  /** {@code 987}, {@code 12.3k}, {@code 4.56M}, {@code 7.00B}. */
  public static String count(double number) {
    if (number < 999.5) { // what would round to 1000 is written in the next unit
      return String.format(Locale.ROOT, "%.0f", number);
    }
    if (number < 999.95e3) {
      return String.format(Locale.ROOT, "%.1fk", number / 1e3);
    }
    return number < 999.995e6
        ? String.format(Locale.ROOT, "%.2fM", number / 1e6)
        : String.format(Locale.ROOT, "%.2fB", number / 1e9);
  }

  /** {@code 96 B}, {@code 4 KiB}, {@code 512 MiB}, {@code 2.5 GiB}. */
  public static String bytes(long bytes) {
    if (bytes < 1 << 10) {
      return bytes + " B";
    }
    if (bytes < MEBIBYTE - (1 << 9)) {
      return String.format(Locale.ROOT, "%.0f KiB", bytes / 1024.0);
    }
    double mebibytes = (double) bytes / MEBIBYTE;
    return mebibytes < 1023.5
        ? String.format(Locale.ROOT, "%.0f MiB", mebibytes)
        : String.format(Locale.ROOT, "%.1f GiB", mebibytes / 1024);
  }

  /** {@code 0.4512}, {@code 0.4512 (87.43 % right)}. */
  public static String evaluation(Evaluation evaluation) {
    OptionalDouble accuracy = evaluation.accuracy();
    return accuracy.isPresent()
        ? String.format(
            Locale.ROOT, "%.4f (%.2f %% right)", evaluation.loss(), 100 * accuracy.getAsDouble())
        : loss(evaluation.loss());
  }

  /** {@code 2.3145}. */
  public static String loss(double loss) {
    return String.format(Locale.ROOT, "%.4f", loss);
  }
}
