package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import java.util.Optional;

/** One character, which may be a space or a tab. */
final class CharacterKey extends Key<String> {
  private static final String LINE_ENDS = "\r\n";

  CharacterKey(Section section, String name) {
    super(section, name, ",");
  }

  @Override
  Optional<String> accept(PlanNode node) {
    return node instanceof Scalar scalar
            && scalar.value().length() == 1
            && !LINE_ENDS.contains(scalar.value())
        ? Optional.of(scalar.value())
        : Optional.empty();
  }

  @Override
  String expected() {
    return "one character";
  }

  @Override
  String text(String value) {
    return '"' + value + '"';
  }
}
