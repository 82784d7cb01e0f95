package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import java.util.Locale;
import java.util.Optional;

/** True or false. */
final class FlagKey extends Key<Boolean> {
  FlagKey(Section section, String name) {
    super(section, name, true);
  }

  @Override
  Optional<Boolean> accept(PlanNode node) {
    return node instanceof Scalar scalar && scalar.type() == ScalarType.TRUTH
        ? Optional.of(scalar.value().equalsIgnoreCase("true"))
        : Optional.empty();
  }

  @Override
  String expected() {
    return "true or false";
  }

  /** The words of YAML 1.1, which are text in YAML 1.2. */
  @Override
  Optional<String> correction(PlanNode node) {
    if (!(node instanceof Scalar scalar)) {
      return Optional.empty();
    }
    return switch (scalar.value().toLowerCase(Locale.ROOT)) {
      case "yes", "on", "y", "1", "true" -> Optional.of("true");
      case "no", "off", "n", "0", "false" -> Optional.of("false");
      default -> Optional.empty();
    };
  }
}
