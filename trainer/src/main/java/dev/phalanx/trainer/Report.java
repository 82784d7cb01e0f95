package dev.phalanx.trainer;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * The job's report: a JSON file that rank 0 writes at the end, after a failure too. {@code
 * docs/report.md} describes it. Numbers are printed so that they read back exactly.
 */
public final class Report {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

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

  /**
   * Writes the report of a job that failed.
   *
   * @param ranks those of which something is known
   */
  public void writeFailure(Path file, String failure, Collection<RankStatistics> ranks)
      throws IOException {
    ObjectNode root = root("failed");
    root.put("failure", failure);
    add(root, ranks);
    write(file, root);
  }

  void write(Path file, String result, Collection<RankStatistics> ranks) throws IOException {
    ObjectNode root = root(result);
    add(root, ranks);
    write(file, root);
  }

  private ObjectNode root(String result) {
    ObjectNode root = MAPPER.createObjectNode();
    root.put("name", job.name());
    root.put("world_size", mesh.worldSize());
    ObjectNode axes = root.putObject("mesh");
    for (Axis axis : Axis.values()) {
      axes.put(axis.label(), mesh.size(axis));
    }
    root.put("engine", engine);
    root.put("result", result);
    ArrayNode stepNodes = root.putArray("steps");
    for (StepRecord step : steps) {
      ObjectNode stepNode = stepNodes.addObject();
      stepNode
          .put("step", step.step())
          .put("loss", step.loss())
          .put("grad_norm", step.isSkipped() ? null : (Double) step.gradientNorm())
          .put("lr", step.learningRate())
          .put(unit, step.items())
          .put("step_ms", step.stepMillis())
          .put(unit + "_per_second", step.itemsPerSecond());
      step.lossScale()
          .ifPresent(scale -> stepNode.put("loss_scale", scale).put("skipped", step.isSkipped()));
      step.expertLoad().ifPresent(load -> stepNode.put("expert_load", load));
    }
    ArrayNode evaluationNodes = root.putArray("evaluations");
    for (AfterStep each : evaluations) {
      ObjectNode node = evaluationNodes.addObject();
      node.put("step", each.step())
          .put("loss", each.evaluation().loss())
          .put(unit, each.evaluation().items());
      each.evaluation().accuracy().ifPresent(accuracy -> node.put("accuracy", accuracy));
    }
    return root;
  }

  private static void add(ObjectNode root, Collection<RankStatistics> ranks) {
    ArrayNode nodes = root.putArray("ranks");
    for (RankStatistics rank : ranks) {
      add(nodes.addObject(), rank);
    }
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

  private static void write(Path file, ObjectNode root) throws IOException {
    Path directory = file.toAbsolutePath().getParent();
    Files.createDirectories(directory);
    // Not a temporary file of the JDK's, which nobody else may read.
    Path partial = file.resolveSibling(file.getFileName() + "." + UUID.randomUUID() + ".partial");
    try {
      Files.writeString(partial, MAPPER.writeValueAsString(root) + System.lineSeparator());
      Files.move(
          partial, file, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(partial);
    }
  }
}
