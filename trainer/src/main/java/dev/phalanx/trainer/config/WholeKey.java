package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import java.math.BigDecimal;
import java.util.Optional;

/** A whole number in a range. */
final class WholeKey extends Key<Long> {
  private long lowest = Long.MIN_VALUE;
  private long highest = Long.MAX_VALUE;

  WholeKey(Section section, String name) {
    super(section, name, 1L);
  }

  WholeKey from(long low) {
    lowest = low;
    return this;
  }

  WholeKey to(long high) {
    highest = high;
    return this;
  }

  @Override
  Optional<Long> accept(PlanNode node) {
    if (!(node instanceof Scalar scalar) || scalar.type() != ScalarType.WHOLE) {
      return Optional.empty();
    }
    try {
      return Optional.of(parse(scalar.value()))
          .filter(value -> value >= lowest && value <= highest);
    } catch (NumberFormatException e) {
      return Optional.empty(); // beyond 64 bits
    }
  }

  /** Decimal, {@code 0x1F} or {@code 0o17}, as YAML's core schema has them. */
  private static long parse(String text) {
    if (text.startsWith("0x")) {
      return Long.parseLong(text.substring(2), 16);
    }
    return text.startsWith("0o") ? Long.parseLong(text.substring(2), 8) : Long.parseLong(text);
  }

  @Override
  String expected() {
    if (lowest == Long.MIN_VALUE) {
      return "a whole number of 64 bits";
    }
    return highest >= 65536
        ? "a whole number of at least " + lowest
        : "a whole number from " + lowest + " to " + highest;
  }

  @Override
  void report(PlanNode node, String suggestion) {
    super.report(node, isTooLarge(node) ? "write at most " + highest : suggestion);
  }

  private boolean isTooLarge(PlanNode node) {
    return number(node)
        .filter(value -> value.compareTo(BigDecimal.valueOf(highest)) > 0)
        .isPresent();
  }

  /** {@code 1e3}, {@code 8.0}, {@code 1_000} and {@code "4"} say which whole number they mean. */
  @Override
  Optional<String> correction(PlanNode node) {
    return number(node)
        .filter(value -> value.stripTrailingZeros().scale() <= 0)
        .filter(value -> value.compareTo(BigDecimal.valueOf(lowest)) >= 0)
        .map(BigDecimal::toBigInteger)
        .map(String::valueOf);
  }

  private static Optional<BigDecimal> number(PlanNode node) {
    if (!(node instanceof Scalar scalar)
        || !scalar.value().matches("[-+]?[0-9][0-9_]{0,30}(\\.[0-9]*)?([eE]\\+?[0-9]{1,2})?")) {
      return Optional.empty();
    }
    return Optional.of(
        new BigDecimal(scalar.value().replace("_", "").replaceFirst("\\.$|\\.(?=[eE])", "")));
  }
}
