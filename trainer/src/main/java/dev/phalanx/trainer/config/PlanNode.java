package dev.phalanx.trainer.config;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A piece of a plan as it was written, before it is known what its keys mean. Immutable, free of
 * cycles.
 */
sealed interface PlanNode {
  Position position();

  /** What this is, for a message: {@code the text 'four'}, {@code a mapping}. */
  String describe();

  /** What a plain YAML scalar is taken for. */
  enum ScalarType {
    NOTHING,
    TRUTH,
    WHOLE,
    REAL,
    TEXT
  }

  record Scalar(ScalarType type, String value, Position position) implements PlanNode {
    @Override
    public String describe() {
      return switch (type) {
        case NOTHING -> "no value";
        case TRUTH -> value;
        case WHOLE -> "the whole number " + value;
        case REAL -> "the number " + value;
        case TEXT -> "the text '" + shortened() + "'";
      };
    }

    private String shortened() {
      return value.length() <= 60 ? value : value.substring(0, 57) + "...";
    }
  }

  record Sequence(List<PlanNode> elements, Position position) implements PlanNode {
    public Sequence {
      elements = List.copyOf(elements);
    }

    @Override
    public String describe() {
      boolean isShort =
          elements.size() <= 8 && elements.stream().allMatch(Scalar.class::isInstance);
      return isShort
          ? "the list " + elements.stream().map(element -> ((Scalar) element).value()).toList()
          : "a list of " + elements.size();
    }
  }

  /** A key's value, and where the key stands. */
  record Entry(Position keyPosition, PlanNode value) {}

  record Mapping(Map<String, Entry> entries, Position position) implements PlanNode {
    public Mapping {
      entries = Collections.unmodifiableMap(new LinkedHashMap<>(entries));
    }

    @Override
    public String describe() {
      return "a mapping";
    }

    Mapping with(String key, Entry entry) {
      Map<String, Entry> changed = new LinkedHashMap<>(entries);
      changed.put(key, entry);
      return new Mapping(changed, position);
    }
  }
}
