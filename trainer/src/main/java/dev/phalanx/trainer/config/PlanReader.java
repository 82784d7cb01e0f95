package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.PlanNode.Entry;
import dev.phalanx.trainer.config.PlanNode.Mapping;
import dev.phalanx.trainer.config.PlanNode.Scalar;
import dev.phalanx.trainer.config.PlanNode.ScalarType;
import dev.phalanx.trainer.config.PlanNode.Sequence;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.api.lowlevel.Parse;
import org.snakeyaml.engine.v2.events.CollectionEndEvent;
import org.snakeyaml.engine.v2.events.CollectionStartEvent;
import org.snakeyaml.engine.v2.events.Event;
import org.snakeyaml.engine.v2.exceptions.Mark;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;
import org.snakeyaml.engine.v2.nodes.Tag;
import org.snakeyaml.engine.v2.schema.CoreSchema;

/**
 * Turns one YAML document (version 1.2, core schema) into {@link PlanNode}s. Nothing is constructed
 * from the text but these: tags that name other types are refused. Nesting is limited, and an alias
 * shares what its anchor made, so that a small text cannot become large.
 */
final class PlanReader {
  private static final int DEEPEST_NESTING = 20;

  private final String source;
  private final Problems problems;
  private final boolean hasLines;
  private final LoadSettings settings;
  private final IdentityHashMap<Node, PlanNode> converted = new IdentityHashMap<>();

  /** Reads a file. */
  PlanReader(String source, Problems problems) {
    this(source, problems, true);
  }

  private PlanReader(String source, Problems problems, boolean hasLines) {
    this.source = source;
    this.problems = problems;
    this.hasLines = hasLines;
    this.settings =
        LoadSettings.builder()
            .setLabel(source)
            .setSchema(new CoreSchema())
            .setUseMarks(true)
            .build();
  }

  /** Reads text that was not in a file, so that lines would tell nothing. */
  static PlanReader ofOverride(String source, Problems problems) {
    return new PlanReader(source, problems, false);
  }

  /** A plan's top level; empty, with a problem, where the text is none. */
  Mapping readPlan(String yaml) {
    int before = problems.inOrder().size();
    Optional<PlanNode> node = read(yaml);
    if (node.isPresent() && node.get() instanceof Mapping mapping && !mapping.entries().isEmpty()) {
      return mapping;
    }
    if (problems.inOrder().size() == before) {
      reportNoPlan(node);
    }
    return new Mapping(Map.of(), Position.whole(source));
  }

  private void reportNoPlan(Optional<PlanNode> node) {
    String example = "write keys and values, as in 'steps: 100'";
    boolean isEmpty =
        node.isEmpty()
            || node.get() instanceof Mapping
            || (node.get() instanceof Scalar scalar && scalar.type() == ScalarType.NOTHING);
    if (isEmpty) {
      problems.add(Position.whole(source), "", "the plan file is empty", example);
    } else {
      PlanNode found = node.orElseThrow();
      problems.add(found.position(), "", "expected a mapping, found " + found.describe(), example);
    }
  }

  /** Any YAML value; empty where the text holds none, and, with a problem, where it is not YAML. */
  Optional<PlanNode> read(String yaml) {
    String text = yaml.startsWith("\uFEFF") ? yaml.substring(1) : yaml;
    try {
      if (isTooDeep(text)) {
        return Optional.empty();
      }
      return new Compose(settings).composeString(text).flatMap(node -> convert(node, ""));
    } catch (MarkedYamlEngineException e) {
      Position position =
          e.getProblemMark().or(e::getContextMark).map(this::position).orElse(whole());
      problems.add(position, "", "not valid YAML: " + problemOf(e), "check the punctuation here");
    } catch (YamlEngineException e) {
      problems.add(whole(), "", "not valid YAML: " + e.getMessage(), "");
    }
    return Optional.empty();
  }

  private static String problemOf(MarkedYamlEngineException e) {
    String problem = e.getProblem();
    String context = e.getContext();
    return context == null || context.isBlank() ? problem : problem + " (" + context + ")";
  }

  /** Looked at before nodes are composed, since composing calls itself for each level. */
  private boolean isTooDeep(String text) {
    int depth = 0;
    for (Event event : new Parse(settings).parseString(text)) {
      if (event instanceof CollectionStartEvent && ++depth > DEEPEST_NESTING) {
        problems.add(
            event.getStartMark().map(this::position).orElse(whole()),
            "",
            "more than " + DEEPEST_NESTING + " levels of nesting",
            "a plan file needs 4");
        return true;
      }
      if (event instanceof CollectionEndEvent) {
        depth--;
      }
    }
    return false;
  }

  /** Empty, with a problem, for what a plan cannot hold. */
  private Optional<PlanNode> convert(Node node, String path) {
    PlanNode known = converted.get(node);
    if (known != null) {
      return Optional.of(known);
    }
    if (node.isRecursive()) {
      problems.add(
          positionOf(node), path, "the anchor contains an alias of itself", "write it out");
      return Optional.empty();
    }
    if (!isPlain(node)) {
      problems.add(
          positionOf(node), path, "the tag " + node.getTag() + " is not allowed", "leave it out");
      return Optional.empty();
    }
    PlanNode made;
    if (node instanceof MappingNode mapping) {
      made = mapping(mapping, path);
    } else if (node instanceof SequenceNode sequence) {
      made = sequence(sequence, path);
    } else {
      made = scalar((ScalarNode) node);
    }
    converted.put(node, made);
    return Optional.of(made);
  }

  private static boolean isPlain(Node node) {
    Tag tag = node.getTag();
    if (node instanceof MappingNode) {
      return tag.equals(Tag.MAP);
    }
    if (node instanceof SequenceNode) {
      return tag.equals(Tag.SEQ);
    }
    return tag.equals(Tag.STR)
        || tag.equals(Tag.INT)
        || tag.equals(Tag.FLOAT)
        || tag.equals(Tag.BOOL)
        || tag.equals(Tag.NULL);
  }

  private Mapping mapping(MappingNode node, String path) {
    Map<String, Entry> entries = new LinkedHashMap<>();
    for (NodeTuple tuple : node.getValue()) {
      Position keyPosition = positionOf(tuple.getKeyNode());
      if (!(tuple.getKeyNode() instanceof ScalarNode keyNode)) {
        problems.add(keyPosition, path, "a key must be a word", "write it as in 'steps: 100'");
        continue;
      }
      String key = keyNode.getValue();
      String keyPath = path.isEmpty() ? key : path + "." + key;
      Entry first = entries.get(key);
      if (first != null) {
        problems.add(
            keyPosition,
            keyPath,
            "duplicate key, first written at " + first.keyPosition(),
            "keep one of the two");
        continue;
      }
      convert(tuple.getValueNode(), keyPath)
          .ifPresent(value -> entries.put(key, new Entry(keyPosition, value)));
    }
    return new Mapping(entries, positionOf(node));
  }

  private Sequence sequence(SequenceNode node, String path) {
    List<PlanNode> elements = new ArrayList<>();
    for (Node element : node.getValue()) {
      convert(element, path).ifPresent(elements::add);
    }
    return new Sequence(elements, positionOf(node));
  }

  private Scalar scalar(ScalarNode node) {
    Tag tag = node.getTag();
    ScalarType type = ScalarType.TEXT;
    if (tag.equals(Tag.NULL)) {
      type = ScalarType.NOTHING;
    } else if (tag.equals(Tag.BOOL)) {
      type = ScalarType.TRUTH;
    } else if (tag.equals(Tag.INT)) {
      type = ScalarType.WHOLE;
    } else if (tag.equals(Tag.FLOAT)) {
      type = ScalarType.REAL;
    }
    return new Scalar(type, node.getValue(), positionOf(node));
  }

  private Position positionOf(Node node) {
    return node.getStartMark().map(this::position).orElse(whole());
  }

  private Position position(Mark mark) {
    return hasLines ? new Position(source, mark.getLine() + 1, mark.getColumn() + 1) : whole();
  }

  private Position whole() {
    return Position.whole(source);
  }
}
