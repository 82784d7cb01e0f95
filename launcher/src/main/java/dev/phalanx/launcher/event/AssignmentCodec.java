package dev.phalanx.launcher.event;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.collectives.security.Encryption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** An assignment as one line of JSON. */
public final class AssignmentCodec {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private AssignmentCodec() {}

  /** One line, without its end. */
  public static String encode(Assignment assignment) {
    ObjectNode node = MAPPER.createObjectNode();
    node.put("token", assignment.token());
    node.put("encryption", assignment.encryption().name());
    node.put("task", assignment.task().name());
    node.put("plan", assignment.plan());
    node.put("world_size", assignment.worldSize());
    ArrayNode ranks = node.putArray("ranks");
    assignment.ranks().forEach(ranks::add);
    node.put("local_rank", assignment.localRank());
    node.put("local_world_size", assignment.localWorldSize());
    node.put("address", assignment.address());
    node.put("rendezvous_host", assignment.rendezvousHost());
    node.put("rendezvous_port", assignment.rendezvousPort());
    node.put("threads", assignment.threads());
    node.put("base_directory", assignment.baseDirectory().toString());
    assignment.resumeFrom().ifPresent(path -> node.put("resume_from", path.toString()));
    return node.toString();
  }

  /**
   * @throws IllegalArgumentException where the line is no assignment; the message does not hold the
   *     line
   */
  public static Assignment decode(String line) {
    JsonNode node;
    try {
      node = MAPPER.readTree(line);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("the first line of standard input is no assignment");
    }
    List<Integer> ranks = new ArrayList<>();
    node.path("ranks").forEach(rank -> ranks.add(rank.intValue()));
    if (ranks.isEmpty() || !node.path("plan").isTextual()) {
      throw new IllegalArgumentException("the first line of standard input is no assignment");
    }
    return new Assignment(
        node.path("token").asText(),
        constant(Encryption.class, node, "encryption"),
        constant(Assignment.Task.class, node, "task"),
        node.path("plan").asText(),
        node.path("world_size").intValue(),
        ranks,
        node.path("local_rank").intValue(),
        node.path("local_world_size").intValue(),
        node.path("address").asText(),
        node.path("rendezvous_host").asText(),
        node.path("rendezvous_port").intValue(),
        node.path("threads").intValue(),
        Path.of(node.path("base_directory").asText()),
        node.has("resume_from")
            ? Optional.of(Path.of(node.get("resume_from").asText()))
            : Optional.empty());
  }

  private static <E extends Enum<E>> E constant(Class<E> type, JsonNode node, String field) {
    try {
      return Enum.valueOf(type, node.path(field).asText());
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("the first line of standard input is no assignment");
    }
  }
}
