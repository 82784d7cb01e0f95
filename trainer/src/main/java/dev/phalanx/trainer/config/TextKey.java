package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import java.util.Optional;

/** Text that is not empty. */
final class TextKey extends Key<String> {
  TextKey(Section section, String name, String example) {
    super(section, name, example);
  }

  @Override
  Optional<String> accept(PlanNode node) {
    return node instanceof Scalar scalar
            && scalar.type() == ScalarType.TEXT
            && !scalar.value().isBlank()
        ? Optional.of(scalar.value())
        : Optional.empty();
  }

  @Override
  String expected() {
    return "text";
  }

  @Override
  Optional<String> correction(PlanNode node) {
    return node instanceof Scalar scalar && isSomething(node) && !scalar.value().isBlank()
        ? Optional.of('"' + scalar.value() + '"')
        : Optional.empty();
  }
}
