package dev.phalanx.trainer.config;

/**
 * One mistake in a plan. It prints as {@code configs/a.yaml:12:3: model.hiden: unknown key; did you
 * mean 'hidden'?}.
 *
 * @param file the plan file as the user named it, or an override as it was given
 * @param line from 1; 0 where there is none
 * @param column from 1; 0 where there is none
 * @param keyPath the key from the top, {@code model.hidden}; empty where the mistake belongs to no
 *     key
 * @param message what is wrong, with the value found
 * @param suggestion what to write instead; empty where nothing more can be said
 */
public record Problem(
    String file, int line, int column, String keyPath, String message, String suggestion) {

  static Problem at(Position position, String keyPath, String message, String suggestion) {
    return new Problem(
        position.source(), position.line(), position.column(), keyPath, message, suggestion);
  }

  public Position position() {
    return new Position(file, line, column);
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder(position().toString()).append(": ");
    if (!keyPath.isEmpty()) {
      text.append(keyPath).append(": ");
    }
    text.append(message);
    if (!suggestion.isEmpty()) {
      text.append("; ").append(suggestion);
    }
    return text.toString();
  }
}
