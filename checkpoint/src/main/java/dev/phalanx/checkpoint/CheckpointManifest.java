package dev.phalanx.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * What {@code checkpoint.json} holds: what the checkpoint is and which files belong to it. The
 * random state of a job is its seed and the step, since all randomness is drawn from counters.
 *
 * @param step steps done
 * @param samples the place in the order of samples: how many were read
 * @param samplesPerEpoch after how many samples the data comes again, {@link Long#MAX_VALUE} where
 *     it never does; another number is a sign of other data
 * @param seed of the job
 * @param worldSize ranks of the job that wrote it; any number of ranks can read it
 * @param optimizer the optimizer's kind, as plan files call it
 * @param tokenizer what text must be encoded with, if anything
 * @param plan the job's plan in YAML, every size filled in
 * @param files everything else in the directory; empty before it is written
 */
public record CheckpointManifest(
    long step,
    long samples,
    long samplesPerEpoch,
    long seed,
    int worldSize,
    String optimizer,
    Optional<String> tokenizer,
    String plan,
    List<StoredFile> files) {
  /** The file's name in a checkpoint's directory. */
  public static final String FILE = "checkpoint.json";

  /** Readers refuse other versions. */
  public static final int FORMAT_VERSION = 1;

  /** Neither another folder's file nor a name that a terminal cannot show. */
  private static final Pattern PLAIN_NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,254}");

  private static final int LONGEST_SHOWN = 120;
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

  /**
   * A file of the checkpoint.
   *
   * @param name in the checkpoint's own folder
   * @param checksum CRC-32C of its bytes
   */
  public record StoredFile(String name, long bytes, int checksum) {}

  public CheckpointManifest {
    files = List.copyOf(files);
  }

  CheckpointManifest withFiles(List<StoredFile> stored) {
    return new CheckpointManifest(
        step, samples, samplesPerEpoch, seed, worldSize, optimizer, tokenizer, plan, stored);
  }

  byte[] toJson() {
    ObjectNode root = MAPPER.createObjectNode();
    root.put("format", "phalanx-checkpoint").put("format_version", FORMAT_VERSION);
    root.put("step", step).put("samples", samples);
    root.put("samples_per_epoch", samplesPerEpoch).put("seed", seed);
    root.put("world_size", worldSize).put("optimizer", optimizer);
    tokenizer.ifPresent(name -> root.put("tokenizer", name));
    root.put("plan", plan);
    ArrayNode list = root.putArray("files");
    for (StoredFile file : files) {
      list.addObject()
          .put("name", file.name())
          .put("bytes", file.bytes())
          .put("crc32c", String.format("%08x", file.checksum()));
    }
    try {
      return MAPPER.writeValueAsBytes(root);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("A tree of texts and numbers is always JSON", e);
    }
  }

  /**
   * Reads a checkpoint's manifest.
   *
   * @throws BadCheckpointException where it is missing, damaged or of another version
   */
  public static CheckpointManifest read(Path directory) throws IOException {
    Path file = directory.resolve(FILE);
    if (!Files.isRegularFile(file)) {
      throw new BadCheckpointException(
          directory
              + " is no checkpoint: it has no "
              + FILE
              + ". Name a folder such as step-000200.");
    }
    JsonNode root;
    try {
      root = MAPPER.readTree(Files.readAllBytes(file));
    } catch (JsonProcessingException e) {
      throw bad(file, "it is no valid JSON (" + oneLine(e.getOriginalMessage()) + ")");
    }
    if (!root.path("format").asText().equals("phalanx-checkpoint")) {
      throw bad(file, "it does not say that it is a checkpoint");
    }
    long version = number(file, root, "format_version", Long.MIN_VALUE, Long.MAX_VALUE);
    if (version != FORMAT_VERSION) {
      throw new BadCheckpointException(
          file
              + " has format version "
              + version
              + ", and this version of Phalanx reads "
              + FORMAT_VERSION
              + ". Use the version of Phalanx that wrote it.");
    }
    List<StoredFile> files = new ArrayList<>();
    for (JsonNode item : root.path("files")) {
      files.add(
          new StoredFile(
              fileName(file, item),
              number(file, item, "bytes", 0, Long.MAX_VALUE),
              checksum(file, item)));
    }
    return new CheckpointManifest(
        number(file, root, "step", 0, Long.MAX_VALUE),
        number(file, root, "samples", 0, Long.MAX_VALUE),
        number(file, root, "samples_per_epoch", 1, Long.MAX_VALUE),
        number(file, root, "seed", Long.MIN_VALUE, Long.MAX_VALUE),
        (int) number(file, root, "world_size", 1, Integer.MAX_VALUE),
        text(file, root, "optimizer"),
        root.has("tokenizer") ? Optional.of(text(file, root, "tokenizer")) : Optional.empty(),
        text(file, root, "plan"),
        files);
  }

  private static String fileName(Path file, JsonNode item) {
    String name = text(file, item, "name");
    if (!PLAIN_NAME.matcher(name).matches()) {
      throw bad(
          file, "it names " + shown(item.path("name")) + ", which is no file in its own folder");
    }
    return name;
  }

  private static int checksum(Path file, JsonNode item) {
    try {
      return Integer.parseUnsignedInt(text(file, item, "crc32c"), 16);
    } catch (NumberFormatException e) {
      throw bad(file, "a file's crc32c is " + shown(item.path("crc32c")));
    }
  }

  private static long number(Path file, JsonNode node, String key, long least, long most) {
    JsonNode value = node.path(key);
    boolean isLong = value.isIntegralNumber() && value.canConvertToLong();
    if (!isLong || value.longValue() < least || value.longValue() > most) {
      throw bad(file, "its " + key + " is " + shown(value));
    }
    return value.longValue();
  }

  private static String text(Path file, JsonNode node, String key) {
    JsonNode value = node.path(key);
    if (!value.isTextual()) {
      throw bad(file, "its " + key + " is " + shown(value));
    }
    return value.textValue();
  }

  private static String shown(JsonNode value) {
    if (value.isMissingNode()) {
      return "missing";
    }
    String json = value.toString();
    return json.length() <= LONGEST_SHOWN
        ? oneLine(json)
        : oneLine(json.substring(0, LONGEST_SHOWN)) + "...";
  }

  private static String oneLine(String text) {
    return text.replaceAll("[^ -~]", "?");
  }

  private static BadCheckpointException bad(Path file, String what) {
    return new BadCheckpointException(
        file + " is damaged: " + what + ". Take an older checkpoint or copy it again.");
  }
}
