package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import dev.phalanx.trainer.config.PlanNode.Sequence;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Columns of a table: one, or a list of different ones, each by its name or its number. */
final class ColumnsKey extends Key<List<String>> {
  ColumnsKey(Section section, String name, String example) {
    super(section, name, List.of(example));
  }

  @Override
  Optional<List<String>> accept(PlanNode node) {
    List<PlanNode> written =
        node instanceof Sequence sequence ? sequence.elements() : List.of(node);
    List<String> columns = new ArrayList<>();
    for (PlanNode each : written) {
      column(each).filter(column -> !columns.contains(column)).ifPresent(columns::add);
    }
    return columns.isEmpty() || columns.size() < written.size()
        ? Optional.empty()
        : Optional.of(List.copyOf(columns));
  }

  private static Optional<String> column(PlanNode node) {
    return node instanceof Scalar scalar
            && (scalar.type() == ScalarType.TEXT || scalar.type() == ScalarType.WHOLE)
            && !scalar.value().isBlank()
        ? Optional.of(scalar.value())
        : Optional.empty();
  }

  @Override
  String expected() {
    return "a column's name or number from 0, or a list of different ones";
  }

  @Override
  String text(List<String> columns) {
    return columns.size() == 1 ? columns.get(0) : "[" + String.join(", ", columns) + "]";
  }
}
