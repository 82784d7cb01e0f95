package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import java.util.Optional;

/**
 * One key of a section while it is read: what it accepts, and what happens where it is left out. A
 * wrong value is reported and replaced by a right one, so that reading goes on to the next mistake.
 */
abstract class Key<T> {
  private final Section section;
  private final String name;
  private T example;

  Key(Section section, String name, T example) {
    this.section = section;
    this.name = name;
    this.example = example;
  }

  /** A value to show where none or a wrong one was written. */
  Key<T> example(T value) {
    example = value;
    return this;
  }

  /** The value, or a placeholder after a problem. */
  T required() {
    Optional<PlanNode> node = section.find(name);
    if (node.isEmpty()) {
      section.reportMissing(name, "write for example '" + lineOf(example) + "'");
      return example;
    }
    return valueOf(node.get(), true).orElse(example);
  }

  T orElse(T defaultValue) {
    example = defaultValue;
    return section.find(name).flatMap(node -> valueOf(node, false)).orElse(defaultValue);
  }

  /** Empty where the key is left out or written as {@code null}. */
  Optional<T> optional() {
    return section.find(name).filter(Key::isSomething).flatMap(node -> valueOf(node, false));
  }

  private Optional<T> valueOf(PlanNode node, boolean isRequired) {
    Optional<T> value = accept(node);
    if (value.isEmpty()) {
      String suggestion =
          correction(node)
              .map(correct -> "write '" + name + ": " + correct + "'")
              .orElse("write for example '" + lineOf(example) + "'");
      if (!isSomething(node) && !isRequired) {
        suggestion += " or leave the key out";
      }
      report(node, suggestion);
    }
    return value;
  }

  /** Says what is wrong with a value that was not accepted. */
  void report(PlanNode node, String suggestion) {
    section.report(
        node.position(), name, "expected " + expected() + ", found " + node.describe(), suggestion);
  }

  private String lineOf(T value) {
    return name + ": " + text(value);
  }

  /** The value, or empty if the key cannot have this one. */
  abstract Optional<T> accept(PlanNode node);

  /** What the key can have, as in "a whole number of at least 1". */
  abstract String expected();

  /** What was probably meant, as the file should say it. */
  Optional<String> correction(PlanNode node) {
    return Optional.empty();
  }

  /** A value as the file would say it. */
  String text(T value) {
    return String.valueOf(value);
  }

  static boolean isSomething(PlanNode node) {
    return !(node instanceof Scalar scalar && scalar.type() == ScalarType.NOTHING);
  }
}
