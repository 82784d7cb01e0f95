package dev.phalanx.checkpoint.safetensors;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.tensor.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a file says about its tensors, checked: known types, sizes that multiply to the bytes given,
 * and bytes that follow each other from the header to the end of the file without gap or overlap.
 *
 * @param dataStart where the tensors' bytes begin in the file
 */
record Header(long dataStart, Map<String, Entry> entries, Map<String, String> metadata) {
  /** Longer headers are refused, as the format's own library does. */
  static final long MAXIMUM_BYTES = 100_000_000;

  private static final String METADATA = "__metadata__";
  private static final ObjectMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(8).build())
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .configure(JsonParser.Feature.INCLUDE_SOURCE_IN_LOCATION, false)
          .build();

  /**
   * A tensor in the file.
   *
   * @param start of its bytes, from {@link #dataStart}
   */
  record Entry(String name, StoredType type, Shape shape, long start, long end) {
    long byteSize() {
      return end - start;
    }
  }

  /**
   * @param json the header's bytes
   * @param fileBytes the size of the whole file
   */
  static Header parse(Path file, byte[] json, long fileBytes) {
    JsonNode root;
    try {
      root = MAPPER.readTree(json);
    } catch (JsonProcessingException e) {
      throw bad(file, "its header is no valid JSON (" + e.getOriginalMessage() + ")", e);
    } catch (IOException e) {
      throw bad(file, "its header is no valid JSON (" + e.getMessage() + ")", e);
    }
    if (root == null || !root.isObject()) {
      throw bad(file, "its header is no JSON object", null);
    }
    long dataStart = Long.BYTES + (long) json.length;
    Map<String, Entry> entries = new LinkedHashMap<>();
    Map<String, String> metadata = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> field : root.properties()) {
      if (field.getKey().equals(METADATA)) {
        for (Map.Entry<String, JsonNode> item : field.getValue().properties()) {
          metadata.put(item.getKey(), item.getValue().asText());
        }
      } else {
        entries.put(field.getKey(), entry(file, field.getKey(), field.getValue()));
      }
    }
    requireNoGaps(file, entries, fileBytes - dataStart);
    return new Header(
        dataStart, Collections.unmodifiableMap(entries), Collections.unmodifiableMap(metadata));
  }

  private static Entry entry(Path file, String name, JsonNode node) {
    String typeName = node.path("dtype").asText("");
    StoredType type =
        StoredType.of(typeName)
            .orElseThrow(
                () ->
                    bad(file, "tensor " + name + " has the unknown type '" + typeName + "'", null));
    Shape shape = shape(file, name, node.path("shape"));
    JsonNode offsets = node.path("data_offsets");
    if (!offsets.isArray()
        || offsets.size() != 2
        || !isWholeNumber(offsets.get(0))
        || !isWholeNumber(offsets.get(1))) {
      throw bad(file, "tensor " + name + " has no pair of data_offsets", null);
    }
    long start = offsets.get(0).longValue();
    long end = offsets.get(1).longValue();
    long expected = bytes(file, name, type, shape);
    if (end - start != expected) {
      throw bad(
          file,
          "tensor "
              + name
              + " of "
              + type
              + " "
              + shape
              + " needs "
              + expected
              + " bytes but has "
              + (end - start),
          null);
    }
    return new Entry(name, type, shape, start, end);
  }

  private static Shape shape(Path file, String name, JsonNode node) {
    if (!node.isArray() || node.size() > 16) {
      throw bad(file, "tensor " + name + " has no shape", null);
    }
    long[] sizes = new long[node.size()];
    for (int i = 0; i < sizes.length; i++) {
      if (!isWholeNumber(node.get(i))) {
        throw bad(file, "tensor " + name + " has the shape " + node, null);
      }
      sizes[i] = node.get(i).longValue();
    }
    try {
      return Shape.of(sizes);
    } catch (ArithmeticException e) {
      throw bad(file, "tensor " + name + " has more elements than can be counted", e);
    }
  }

  private static boolean isWholeNumber(JsonNode node) {
    return node.isIntegralNumber() && node.canConvertToLong() && node.longValue() >= 0;
  }

  private static long bytes(Path file, String name, StoredType type, Shape shape) {
    try {
      return Math.multiplyExact(shape.elementCount(), type.byteSize());
    } catch (ArithmeticException e) {
      throw bad(file, "tensor " + name + " has more bytes than can be counted", e);
    }
  }

  private static void requireNoGaps(Path file, Map<String, Entry> entries, long dataBytes) {
    List<Entry> sorted = new ArrayList<>(entries.values());
    sorted.sort(Comparator.comparingLong(Entry::start).thenComparingLong(Entry::end));
    long position = 0;
    for (Entry entry : sorted) {
      if (entry.start() != position) {
        throw bad(
            file,
            "tensor "
                + entry.name()
                + " begins at byte "
                + entry.start()
                + " where byte "
                + position
                + " comes next",
            null);
      }
      position = entry.end();
    }
    if (position != dataBytes) {
      throw bad(
          file,
          "its header describes "
              + position
              + " bytes of tensors and the file has "
              + dataBytes
              + (dataBytes < position ? ": it is cut off" : ""),
          null);
    }
  }

  static BadCheckpointException bad(Path file, String what, @Nullable Throwable cause) {
    String message =
        file + " is damaged: " + what + ". Copy or download it again, or take an older checkpoint.";
    return cause == null
        ? new BadCheckpointException(message)
        : new BadCheckpointException(message, cause);
  }
}
