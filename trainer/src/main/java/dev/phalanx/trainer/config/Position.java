package dev.phalanx.trainer.config;

/**
 * Where something of a plan was written.
 *
 * @param source the file as the user named it, or an override as it was given ({@code --set
 *     parallel.tensor=2})
 * @param line from 1; 0 where the source has no lines, as an override
 * @param column from 1; 0 where the source has no lines
 */
public record Position(String source, int line, int column) {
  /** A source as a whole. */
  static Position whole(String source) {
    return new Position(source, 0, 0);
  }

  boolean hasLine() {
    return line > 0;
  }

  /** {@code configs/a.yaml:12:3}, or the source alone where it has no lines. */
  @Override
  public String toString() {
    return hasLine() ? source + ":" + line + ":" + column : source;
  }
}
