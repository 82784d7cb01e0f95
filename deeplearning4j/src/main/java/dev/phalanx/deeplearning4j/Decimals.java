package dev.phalanx.deeplearning4j;

/** Numbers as tables write them: decimal digits, with a point and an exponent where needed. */
final class Decimals {
  private Decimals() {}

  /** NaN where the text is no number; infinite where it is too large for a float. */
  static float toFloat(String text) {
    if (!mayBeDecimal(text)) {
      return Float.NaN;
    }
    try {
      return Float.parseFloat(text);
    } catch (NumberFormatException e) {
      return Float.NaN;
    }
  }

  /** NaN where the text is no number; infinite where it is too large for a double. */
  static double toDouble(String text) {
    if (!mayBeDecimal(text)) {
      return Double.NaN;
    }
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      return Double.NaN;
    }
  }

  /** Java itself takes {@code 3d}, {@code 0x1p3} and {@code Infinity} for numbers, too. */
  private static boolean mayBeDecimal(String text) {
    if (text.isEmpty()) {
      return false;
    }
    char last = text.charAt(text.length() - 1);
    return ((last >= '0' && last <= '9') || last == '.')
        && text.indexOf('x') < 0
        && text.indexOf('X') < 0;
  }
}
