package dev.phalanx.launcher.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.DType;
import dev.phalanx.trainer.config.JobConfig;
import java.time.Duration;
import java.util.List;

/**
 * What is measured.
 *
 * @param sizes bytes of the whole tensor
 * @param samples of each size; 0: fewer for larger ones
 * @param warmup samples that are not counted; -1: until the JVM has compiled what runs
 * @param memory where the tensors lie
 * @param timeoutMillis how long ranks wait for each other
 * @param streams TCP connections between two ranks
 */
public record BenchmarkOptions(
    List<MeasuredOperation> operations,
    List<Long> sizes,
    DType dtype,
    int samples,
    int warmup,
    JobConfig.Transport transport,
    Algorithm algorithm,
    Memory memory,
    long timeoutMillis,
    int streams) {
  /** Where tensors lie. */
  public enum Memory {
    /** Where all ranks read it, if they can. */
    SHARED,
    PRIVATE
  }

  private static final ObjectMapper MAPPER = new ObjectMapper();

  public BenchmarkOptions {
    operations = List.copyOf(operations);
    sizes = List.copyOf(sizes);
  }

  /** How long ranks wait for each other. */
  public Duration timeout() {
    return Duration.ofMillis(timeoutMillis);
  }

  /** One line of JSON. */
  public String encode() {
    try {
      return MAPPER.writeValueAsString(
          MAPPER
              .createObjectNode()
              .put("dtype", dtype.name())
              .put("samples", samples)
              .put("warmup", warmup)
              .put("transport", transport.name())
              .put("algorithm", algorithm.name())
              .put("memory", memory.name())
              .put("timeout_ms", timeoutMillis)
              .put("streams", streams)
              .putPOJO("operations", operations)
              .putPOJO("sizes", sizes));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Texts and numbers are always JSON", e);
    }
  }

  /**
   * Reads what {@link #encode} wrote.
   *
   * @throws IllegalArgumentException where it is something else
   */
  public static BenchmarkOptions parse(String json) {
    try {
      var node = MAPPER.readTree(json);
      return new BenchmarkOptions(
          List.of(MAPPER.treeToValue(node.path("operations"), MeasuredOperation[].class)),
          List.of(MAPPER.treeToValue(node.path("sizes"), Long[].class)),
          DType.valueOf(node.path("dtype").asText()),
          node.path("samples").intValue(),
          node.path("warmup").intValue(),
          JobConfig.Transport.valueOf(node.path("transport").asText()),
          Algorithm.valueOf(node.path("algorithm").asText()),
          Memory.valueOf(node.path("memory").asText()),
          node.path("timeout_ms").longValue(),
          node.path("streams").intValue());
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("These are no options of a benchmark", e);
    }
  }
}
