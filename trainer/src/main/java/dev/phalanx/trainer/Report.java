package dev.phalanx.trainer;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The job's report: a JSON file that rank 0 writes at the end, after a failure too. {@code
 * docs/report.md} describes it. Numbers are printed so that they read back exactly.
 */
public final class Report {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private final JobConfig job;
  private final DeviceMesh mesh;
  private final String engine;
  private final String unit;
  private final List<StepRecord> steps = new ArrayList<>();
  private final List<AfterStep> evaluations = new ArrayList<>();

  private record AfterStep(long step, Evaluation evaluation) {}

  /**
   * @param engine by its name
   */
  public Report(JobConfig job, int worldSize, String engine) {
    this.job = job;
    this.mesh = job.parallel().mesh(worldSize);
    this.engine = engine;
    this.unit = Unit.of(job).label();
  }

  public void add(StepRecord step) {
    steps.add(step);
  }

  /** After so many steps. */
  public void add(long step, Evaluation evaluation) {
    evaluations.add(new AfterStep(step, evaluation));
  }

  /** Whether nothing has been done that it could tell of. */
  boolean isEmpty() {
    return steps.isEmpty() && evaluations.isEmpty();
  }

  /**
   * Writes the report of a job that failed.
   *
   * @param ranks those of which something is known
   */
  public void writeFailure(Path file, String failure, Collection<RankStatistics> ranks)
      throws IOException {
    write(file, head("failed").put("failure", failure), ranks);
  }

  void write(Path file, String result, Collection<RankStatistics> ranks) throws IOException {
    write(file, head(result), ranks);
  }

  private ObjectNode head(String result) {
    ObjectNode head = MAPPER.createObjectNode();
    head.put("name", job.name());
    head.put("world_size", mesh.worldSize());
    ObjectNode axes = head.putObject("mesh");
    for (Axis axis : Axis.values()) {
      axes.put(axis.label(), mesh.size(axis));
    }
    head.put("engine", engine);
    head.put("result", result);
    return head;
  }

  private ObjectNode node(StepRecord step) {
    ObjectNode node = MAPPER.createObjectNode();
    node.put("step", step.step())
        .put("loss", step.loss())
        .put("grad_norm", step.isSkipped() ? null : (Double) step.gradientNorm())
        .put("lr", step.learningRate())
        .put(unit, step.items())
        .put("step_ms", step.stepMillis())
        .put(unit + "_per_second", step.itemsPerSecond());
    step.lossScale()
        .ifPresent(scale -> node.put("loss_scale", scale).put("skipped", step.isSkipped()));
    step.expertLoad().ifPresent(load -> node.put("expert_load", load));
    return node;
  }

  private ObjectNode node(AfterStep each) {
    ObjectNode node = MAPPER.createObjectNode();
    node.put("step", each.step())
        .put("loss", each.evaluation().loss())
        .put(unit, each.evaluation().items());
    each.evaluation().accuracy().ifPresent(accuracy -> node.put("accuracy", accuracy));
    return node;
  }

  private static ObjectNode node(RankStatistics rank) {
    ObjectNode node = MAPPER.createObjectNode();
    add(node, rank);
    return node;
  }

  private static void add(ObjectNode node, RankStatistics rank) {
    node.put("rank", rank.rank())
        .put("peak_rss_bytes", rank.peakResidentBytes())
        .put("parameter_bytes", rank.parameterBytes())
        .put("gradient_bytes", rank.gradientBytes())
        .put("optimizer_bytes", rank.optimizerBytes())
        .put("peak_activation_bytes", rank.peakActivationBytes());
    ObjectNode bytes = node.putObject("bytes_sent");
    ObjectNode messages = node.putObject("messages_sent");
    for (Axis axis : RankGroups.COMMUNICATING_AXES) {
      bytes.put(axis.label(), rank.sent(axis).bytesSent());
      messages.put(axis.label(), rank.sent(axis).messagesSent());
    }
    node.put("compute_ms", rank.computeMillis())
        .put("exposed_communication_ms", rank.exposedCommunicationMillis())
        .put("idle_ms", rank.idleMillis());
    CompressionStatistics compression = rank.compression();
    if (compression != null) {
      node.putObject("compression")
          .put("ratio", compression.ratio())
          .put("uncompressed_bytes", compression.uncompressedBytes())
          .put("sent_bytes", compression.sentBytes())
          .put("codec_ms", compression.codecNanos() / 1e6)
          .put("error_norm", finiteOrNull(compression.errorNorm()));
    }
  }

  /** JSON knows no others. */
  private static @Nullable Double finiteOrNull(double number) {
    return Double.isFinite(number) ? (Double) number : null;
  }

  private void write(Path file, ObjectNode head, Collection<RankStatistics> ranks)
      throws IOException {
    try {
      replace(file, head, ranks);
    } catch (FileSystemException e) {
      throw e;
    } catch (IOException e) { // a full disk does not say where it is full
      FileSystemException named =
          new FileSystemException(file.toString(), null, "log.report: " + e.getMessage());
      named.initCause(e);
      throw named;
    }
  }

  /** A device, as {@code /dev/null}, is written to; a link stays one. */
  private void replace(Path file, ObjectNode head, Collection<RankStatistics> ranks)
      throws IOException {
    Path target = Files.exists(file) ? file.toRealPath() : file.toAbsolutePath();
    if (Files.exists(target) && !Files.isRegularFile(target)) {
      try (Writer text = Files.newBufferedWriter(target)) {
        write(text, head, ranks);
      }
      return;
    }
    Files.createDirectories(target.getParent());
    // Not a temporary file of the JDK's, which nobody else may read.
    Path partial =
        target.resolveSibling(target.getFileName() + "." + UUID.randomUUID() + ".partial");
    try {
      try (Writer text = Files.newBufferedWriter(partial)) {
        write(text, head, ranks);
      }
      Files.move(
          partial, target, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(partial);
    }
  }

  /** Entry by entry: a long job has many steps. */
  private void write(Writer text, ObjectNode head, Collection<RankStatistics> ranks)
      throws IOException {
    JsonGenerator out = MAPPER.createGenerator(text).useDefaultPrettyPrinter();
    out.writeStartObject();
    for (Map.Entry<String, JsonNode> field : head.properties()) {
      out.writeFieldName(field.getKey());
      out.writeTree(field.getValue());
    }
    writeArray(out, "steps", steps, this::node);
    writeArray(out, "evaluations", evaluations, this::node);
    writeArray(out, "ranks", ranks, Report::node);
    out.writeEndObject();
    out.writeRaw(System.lineSeparator());
    out.flush();
  }

  private static <T> void writeArray(
      JsonGenerator out, String name, Collection<T> values, Function<T, ObjectNode> node)
      throws IOException {
    out.writeArrayFieldStart(name);
    for (T value : values) {
      out.writeTree(node.apply(value));
    }
    out.writeEndArray();
  }
}
