package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Sequence;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** A list of a fixed number of elements, all of one kind. */
final class ListKey<T> extends Key<List<T>> {
  private final Key<T> element;
  private final int size;
  private final String expected;
  private final boolean isDistinct;

  ListKey(
      Section section, String name, Key<T> element, int size, boolean isDistinct, String expected) {
    super(section, name, List.of());
    this.element = element;
    this.size = size;
    this.isDistinct = isDistinct;
    this.expected = expected;
  }

  @Override
  Optional<List<T>> accept(PlanNode node) {
    if (!(node instanceof Sequence sequence) || sequence.elements().size() != size) {
      return Optional.empty();
    }
    List<T> values = new ArrayList<>();
    for (PlanNode each : sequence.elements()) {
      element.accept(each).ifPresent(values::add);
    }
    boolean isComplete = values.size() == size;
    boolean isAllowed = !isDistinct || values.stream().distinct().count() == size;
    return isComplete && isAllowed ? Optional.of(List.copyOf(values)) : Optional.empty();
  }

  @Override
  String expected() {
    return expected;
  }

  @Override
  String text(List<T> values) {
    return values.stream().map(element::text).collect(Collectors.joining(", ", "[", "]"));
  }
}
