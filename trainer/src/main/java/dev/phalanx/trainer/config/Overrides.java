package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Entry;
import dev.phalanx.trainer.config.PlanNode.Mapping;
import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Applies {@code --set key.path=value} to a plan as written, before anything is checked: an
 * override is then treated like a line of the file, and messages about it name the override.
 */
final class Overrides {
  private final Problems problems;

  Overrides(Problems problems) {
    this.problems = problems;
  }

  Mapping apply(Mapping plan, List<String> overrides) {
    Mapping result = plan;
    for (String override : overrides) {
      result = applyOne(result, override);
    }
    return result;
  }

  private Mapping applyOne(Mapping plan, String override) {
    Position position = Position.whole("--set " + override);
    int equals = override.indexOf('=');
    List<String> path = List.of(override.substring(0, Math.max(equals, 0)).trim().split("\\.", -1));
    if (equals < 0 || path.stream().anyMatch(String::isBlank)) {
      problems.add(
          position, "", "expected KEY=VALUE", "write for example '--set parallel.tensor=2'");
      return plan;
    }
    int before = problems.inOrder().size();
    Optional<PlanNode> value =
        PlanReader.ofOverride(position.source(), problems).read(override.substring(equals + 1));
    if (value.isEmpty() && problems.inOrder().size() > before) {
      return plan;
    }
    PlanNode node = value.orElse(new Scalar(ScalarType.NOTHING, "", position));
    return with(plan, path, new Entry(position, node));
  }

  private static Mapping with(Mapping plan, List<String> path, Entry entry) {
    String key = path.get(0);
    if (path.size() == 1) {
      return plan.with(key, entry);
    }
    Entry old = plan.entries().get(key);
    Position position = entry.keyPosition();
    Entry section =
        old != null && old.value() instanceof Mapping
            ? old
            : new Entry(position, new Mapping(Map.of(), position));
    Mapping inner = with((Mapping) section.value(), path.subList(1, path.size()), entry);
    return plan.with(key, new Entry(section.keyPosition(), inner));
  }
}
