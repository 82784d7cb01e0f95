package dev.phalanx.trainer.config;

import java.util.Map;

/** Where the values of a plan were written. Immutable. */
public final class Positions {
  private final Position whole;
  private final Map<String, Position> byKeyPath;

  Positions(String source, Map<String, Position> byKeyPath) {
    this.whole = Position.whole(source);
    this.byKeyPath = Map.copyOf(byKeyPath);
  }

  /**
   * For a configuration that was made by a program: every key is in {@code source}, without a line.
   */
  public static Positions unknown(String source) {
    return new Positions(source, Map.of());
  }

  /**
   * The place of a key's value, of the section that would hold it where the key was left out, or of
   * the whole source.
   *
   * @param keyPath the key from the top, {@code model.hidden}
   */
  public Position of(String keyPath) {
    String path = keyPath;
    while (!path.isEmpty()) {
      Position position = byKeyPath.get(path);
      if (position != null) {
        return position;
      }
      path = path.contains(".") ? path.substring(0, path.lastIndexOf('.')) : "";
    }
    return whole;
  }
}
