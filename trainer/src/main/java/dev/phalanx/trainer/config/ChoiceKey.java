package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** One of a closed set of words. */
final class ChoiceKey<E extends Enum<E> & Choice> extends Key<E> {
  private final List<E> choices;

  ChoiceKey(Section section, String name, Class<E> type) {
    super(section, name, type.getEnumConstants()[0]);
    this.choices = Arrays.asList(type.getEnumConstants());
  }

  @Override
  Optional<E> accept(PlanNode node) {
    return node instanceof Scalar scalar
        ? choices.stream().filter(choice -> choice.label().equals(scalar.value())).findFirst()
        : Optional.empty();
  }

  @Override
  String expected() {
    return "one of " + choices.stream().map(Choice::label).collect(Collectors.joining(", "));
  }

  @Override
  void report(PlanNode node, String suggestion) {
    Optional<String> better =
        node instanceof Scalar scalar
            ? choices.get(0).insteadOf(scalar.value()).or(() -> nearest(scalar.value()))
            : Optional.empty();
    super.report(node, better.orElse(suggestion));
  }

  private Optional<String> nearest(String word) {
    return Nearest.of(word, choices.stream().map(Choice::label).toList())
        .map(label -> "did you mean '" + label + "'?");
  }

  @Override
  String text(E value) {
    return value.label();
  }
}
