package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import java.util.Optional;

/** One character, which may be a space or a tab. */
final class CharacterKey extends Key<String> {
  private static final String RESERVED = "\"\r\n"; // around cells and between lines

  CharacterKey(Section section, String name) {
    super(section, name, ",");
  }

  @Override
  Optional<String> accept(PlanNode node) {
    return node instanceof Scalar scalar
            && scalar.value().length() == 1
            && !RESERVED.contains(scalar.value())
        ? Optional.of(scalar.value())
        : Optional.empty();
  }

  @Override
  String expected() {
    return "one character, no quotation mark";
  }

  @Override
  String text(String value) {
    return '"' + value + '"';
  }
}
