package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Entry;
import dev.phalanx.trainer.config.PlanNode.Mapping;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * One mapping of the plan while its keys are read one by one. The keys that are asked for are the
 * known ones; {@link #end} reports the others. A section that is left out reads as an empty one.
 * One thread.
 */
final class Section {
  private final Mapping mapping;
  private final String path;
  private final Problems problems;
  private final Map<String, Position> positions;
  private final Set<String> asked = new LinkedHashSet<>();
  private final Map<String, String> missing = new LinkedHashMap<>();
  private final Map<String, List<String>> keysOfOtherKinds = new TreeMap<>(); // and their kinds
  private String kindKey = "";
  private String kind = "";
  private boolean isKindRight = true;

  /**
   * Whether required keys are reported when they are missing; not so where the section itself was
   * already reported.
   */
  private boolean reportsMissing = true;

  /** The top level of a plan. */
  Section(Mapping mapping, Problems problems, Map<String, Position> positions) {
    this(mapping, "", problems, positions);
  }

  private Section(
      Mapping mapping, String path, Problems problems, Map<String, Position> positions) {
    this.mapping = mapping;
    this.path = path;
    this.problems = problems;
    this.positions = positions;
  }

  WholeKey whole(String name) {
    return new WholeKey(this, name);
  }

  /** A whole number that Java keeps in an {@code int}. */
  WholeKey count(String name) {
    return whole(name).to(Integer.MAX_VALUE);
  }

  RealKey real(String name) {
    return new RealKey(this, name);
  }

  TextKey text(String name, String example) {
    return new TextKey(this, name, example);
  }

  FlagKey flag(String name) {
    return new FlagKey(this, name);
  }

  <E extends Enum<E> & Choice> ChoiceKey<E> choice(String name, Class<E> type) {
    return new ChoiceKey<>(this, name, type);
  }

  /**
   * The key that decides which other keys the section has.
   *
   * @param keysByKind the keys that only some kinds have
   */
  <E extends Enum<E> & Choice> E kind(
      String name, Class<E> type, Optional<E> defaultKind, Map<E, List<String>> keysByKind) {
    ChoiceKey<E> key = choice(name, type);
    E chosen = defaultKind.map(key::orElse).orElseGet(key::required);
    kindKey = name;
    kind = chosen.label();
    Entry written = mapping.entries().get(name);
    isKindRight =
        written == null ? defaultKind.isPresent() : key.accept(written.value()).isPresent();
    new TreeMap<>(keysByKind)
        .forEach( // in the kinds' order, so that messages are the same each time
            (owner, keys) ->
                keys.forEach(
                    each ->
                        keysOfOtherKinds
                            .computeIfAbsent(each, first -> new ArrayList<>())
                            .add(owner.label())));
    return chosen;
  }

  /** A section inside this one, empty where it is left out. */
  Section section(String name) {
    return optionalSection(name)
        .orElseGet(() -> new Section(emptyAt(positionOf(name)), pathOf(name), problems, positions));
  }

  /** A section inside this one that has required keys. */
  Section requiredSection(String name, String example) {
    if (mapping.entries().containsKey(name)) {
      return section(name);
    }
    asked.add(name);
    reportMissing(name, "write for example '" + name + ": " + example + "'");
    Section missing = new Section(emptyAt(mapping.position()), pathOf(name), problems, positions);
    missing.reportsMissing = false;
    return missing;
  }

  /** Empty where the section is left out or written as {@code null}. */
  Optional<Section> optionalSection(String name) {
    Optional<PlanNode> node = find(name).filter(Key::isSomething);
    if (node.isEmpty()) {
      return Optional.empty();
    }
    if (node.get() instanceof Mapping inner) {
      return Optional.of(
          new Section(
              new Mapping(inner.entries(), positionOf(name)), pathOf(name), problems, positions));
    }
    report(
        node.get().position(),
        name,
        "expected a mapping of keys to values, found " + node.get().describe(),
        "write the section's keys under '" + name + ":' or leave it out");
    Section wrong = new Section(emptyAt(node.get().position()), pathOf(name), problems, positions);
    wrong.reportsMissing = false;
    return Optional.of(wrong);
  }

  /** The value as it was written; the key is a known one from now on. */
  Optional<PlanNode> find(String name) {
    asked.add(name);
    Entry entry = mapping.entries().get(name);
    if (entry == null) {
      return Optional.empty();
    }
    PlanNode value = entry.value();
    positions.put(pathOf(name), value instanceof Mapping ? entry.keyPosition() : value.position());
    return Optional.of(value);
  }

  /**
   * Reports the keys that nobody asked for and the required ones that are missing; one that was
   * misspelt is one mistake. Called last.
   */
  void end() {
    Set<String> misspelt = new LinkedHashSet<>();
    for (String name : mapping.entries().keySet()) {
      if (!asked.contains(name)) {
        Nearest.of(name, asked).ifPresent(misspelt::add);
      }
    }
    missing.forEach(
        (name, suggestion) -> {
          if (!misspelt.contains(name)) {
            report(mapping.position(), name, "missing required key", suggestion);
          }
        });
    mapping
        .entries()
        .forEach(
            (name, entry) -> {
              if (!asked.contains(name)) {
                reportUnknown(name, entry.keyPosition());
              }
            });
  }

  private void reportUnknown(String name, Position position) {
    String owner = String.join(" or ", keysOfOtherKinds.getOrDefault(name, List.of()));
    if (owner.isEmpty()) {
      String suggestion =
          Nearest.of(name, asked)
              .map(near -> "did you mean '" + near + "'?")
              .orElseGet(() -> "the keys here are " + String.join(", ", asked));
      report(position, name, "unknown key", suggestion);
    } else if (isKindRight && !(isKindOverridden() && position.hasLine())) {
      report(
          position,
          name,
          "not a key of " + kindKey + " " + kind + ", but of " + kindKey + " " + owner,
          "leave it out or write '" + kindKey + ": " + owner + "'");
    }
  }

  /**
   * An override of the kind alone is enough: what the file says for its own kind then does not
   * count.
   */
  private boolean isKindOverridden() {
    Entry written = mapping.entries().get(kindKey);
    return written != null && !written.keyPosition().hasLine();
  }

  /** Not so where only the kind that stands in for a wrong one has the key. */
  void reportMissing(String name, String suggestion) {
    boolean isOfOneKind = keysOfOtherKinds.getOrDefault(name, List.of()).size() == 1;
    if (reportsMissing && (isKindRight || !isOfOneKind)) {
      missing.put(name, suggestion);
    }
  }

  void report(Position position, String name, String message, String suggestion) {
    problems.add(position, pathOf(name), message, suggestion);
  }

  /** Reports what is wrong with the section as a whole. */
  void reportSelf(String message, String suggestion) {
    problems.add(mapping.position(), path, message, suggestion);
  }

  private String pathOf(String name) {
    return path.isEmpty() ? name : path + "." + name;
  }

  /** Of the key of an inner section, or of this section where the inner one was left out. */
  private Position positionOf(String name) {
    Entry entry = mapping.entries().get(name);
    return entry == null ? mapping.position() : entry.keyPosition();
  }

  private static Mapping emptyAt(Position position) {
    return new Mapping(Map.of(), position);
  }
}
