package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import java.util.Optional;

/** A finite number in a range; a whole number is accepted as well. */
final class RealKey extends Key<Double> {
  private double lowest = -Double.MAX_VALUE;
  private boolean includesLowest = true;
  private double highest = Double.POSITIVE_INFINITY;
  private boolean includesHighest;

  RealKey(Section section, String name) {
    super(section, name, 1.0);
  }

  /** At least. */
  RealKey from(double low) {
    lowest = low;
    return this;
  }

  /** More than. */
  RealKey above(double low) {
    lowest = low;
    includesLowest = false;
    return this;
  }

  /** Less than. */
  RealKey below(double high) {
    highest = high;
    return this;
  }

  /** At most. */
  RealKey to(double high) {
    highest = high;
    includesHighest = true;
    return this;
  }

  @Override
  Optional<Double> accept(PlanNode node) {
    if (!(node instanceof Scalar scalar)
        || (scalar.type() != ScalarType.REAL && scalar.type() != ScalarType.WHOLE)) {
      return Optional.empty();
    }
    try {
      return Optional.of(Double.parseDouble(scalar.value())).filter(this::isInside);
    } catch (NumberFormatException e) {
      return Optional.empty(); // .inf, .nan, 0x1F
    }
  }

  private boolean isInside(double value) {
    return (includesLowest ? value >= lowest : value > lowest)
        && (includesHighest ? value <= highest : value < highest);
  }

  @Override
  String expected() {
    String low =
        lowest == -Double.MAX_VALUE
            ? ""
            : (includesLowest ? " of at least " : " above ") + Numbers.text(lowest);
    String high =
        highest == Double.POSITIVE_INFINITY
            ? ""
            : (includesHighest ? " and at most " : " and below ") + Numbers.text(highest);
    return "a finite number" + low + high;
  }

  @Override
  Optional<String> correction(PlanNode node) {
    return node instanceof Scalar scalar
            && scalar.type() == ScalarType.TEXT
            && scalar.value().matches("[-+]?[0-9][0-9_]*(\\.[0-9_]*)?([eE][-+]?[0-9]{1,3})?")
            && isInside(Double.parseDouble(scalar.value().replace("_", "")))
        ? Optional.of(scalar.value().replace("_", ""))
        : Optional.empty();
  }

  @Override
  String text(Double value) {
    return Numbers.text(value);
  }
}
