package dev.phalanx.trainer.config;

/** Numbers as messages show them. */
final class Numbers {
  private Numbers() {}

  /** Whole numbers without a point, others as Java reads them back, with a small {@code e}. */
  static String text(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e15
        ? Long.toString((long) value)
        : Double.toString(value).replace('E', 'e');
  }
}
