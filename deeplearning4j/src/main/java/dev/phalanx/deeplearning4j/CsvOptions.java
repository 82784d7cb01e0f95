package dev.phalanx.deeplearning4j;

/**
 * How a file of comma-separated values is written, beside what all have in common: UTF-8, quotes
 * {@code "} around what needs them, lines that end in LF or CR LF, empty lines without meaning.
 *
 * @param delimiter between two cells, as ',', ';' or a tab
 */
public record CsvOptions(char delimiter, Header header) {
  public static final CsvOptions DEFAULT = new CsvOptions(',', Header.AUTO);

  /** Whether the first line names the columns. */
  public enum Header {
    /**
     * It does where columns are asked for by name, or where its features are words and none of them
     * a number or what stands for a missing one: {@code NA}, {@code ?}, {@code NaN}, {@code inf}. A
     * line with words and numbers is taken for a sample, and refused.
     */
    AUTO,
    YES,
    NO
  }

  public CsvOptions {
    if (delimiter == '"' || delimiter == '\n' || delimiter == '\r') {
      throw new IllegalArgumentException("Cells cannot be divided by quotes or ends of lines");
    }
  }
}
