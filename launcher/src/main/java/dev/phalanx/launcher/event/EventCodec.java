package dev.phalanx.launcher.event;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.bench.BenchmarkRow;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.RankStatistics;
import dev.phalanx.trainer.StepRecord;
import dev.phalanx.trainer.Unit;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Events as a sequence of JSON texts (RFC 7464): a record separator (0x1E), one line of JSON, a
 * line feed. Whatever else appears on a worker's standard output (a native library's message, half
 * a line of it) is no event and can be told apart. Numbers read back exactly; NaN and the
 * infinities are strings.
 */
public final class EventCodec {
  /** Comes before each event. */
  public static final char RECORD_SEPARATOR = '\u001e';

  private static final ObjectMapper MAPPER = new ObjectMapper();

  private EventCodec() {}

  /** The JSON text alone. */
  public static String encode(WorkerEvent event) {
    ObjectNode node = MAPPER.createObjectNode();
    if (event instanceof WorkerEvent.Started started) {
      node.put("event", "started");
      write(node, started.summary());
    } else if (event instanceof WorkerEvent.StepFinished step) {
      node.put("event", "step");
      write(node, step.step());
    } else if (event instanceof WorkerEvent.Evaluated evaluated) {
      node.put("event", "evaluated").put("step", evaluated.step());
      write(node, evaluated.evaluation());
    } else if (event instanceof WorkerEvent.CheckpointSaved saved) {
      node.put("event", "checkpoint").put("step", saved.step());
      node.put("directory", saved.directory().toString());
    } else if (event instanceof WorkerEvent.Resumed resumed) {
      node.put("event", "resumed").put("step", resumed.step());
      node.put("directory", resumed.directory().toString());
    } else if (event instanceof WorkerEvent.Finished finished) {
      node.put("event", "finished");
      finished.result().ifPresent(result -> write(node, result));
    } else if (event instanceof WorkerEvent.Measured measured) {
      node.put("event", "measured").set("row", MAPPER.valueToTree(measured.row()));
    } else if (event instanceof WorkerEvent.Failed failed) {
      node.put("event", "failed");
      write(node, failed.failure());
      failed
          .statistics()
          .ifPresent(statistics -> node.set("statistics", MAPPER.valueToTree(statistics)));
    }
    return node.put("rank", event.rank()).toString();
  }

  /** The event in a JSON text; empty where it holds none. */
  public static Optional<WorkerEvent> decode(String json) {
    try {
      JsonNode node = MAPPER.readTree(json);
      int rank = node.path("rank").asInt(-1);
      if (rank < 0) {
        return Optional.empty();
      }
      return switch (node.path("event").asText()) {
        case "started" -> Optional.of(new WorkerEvent.Started(rank, summary(node)));
        case "step" -> Optional.of(new WorkerEvent.StepFinished(rank, step(node)));
        case "evaluated" ->
            Optional.of(
                new WorkerEvent.Evaluated(rank, node.path("step").longValue(), evaluation(node)));
        case "checkpoint" ->
            Optional.of(
                new WorkerEvent.CheckpointSaved(
                    rank, node.path("step").longValue(), path(node, "directory")));
        case "resumed" ->
            Optional.of(
                new WorkerEvent.Resumed(
                    rank, node.path("step").longValue(), path(node, "directory")));
        case "finished" ->
            Optional.of(
                new WorkerEvent.Finished(
                    rank, node.has("outcome") ? Optional.of(result(node)) : Optional.empty()));
        case "measured" ->
            Optional.of(
                new WorkerEvent.Measured(
                    rank, MAPPER.treeToValue(node.path("row"), BenchmarkRow.class)));
        case "failed" -> Optional.of(new WorkerEvent.Failed(rank, failure(node), statistics(node)));
        default -> Optional.empty();
      };
    } catch (JsonProcessingException | IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  private static void write(ObjectNode node, JobSummary summary) {
    node.put("name", summary.name())
        .put("world_size", summary.worldSize())
        .put("model", summary.model())
        .put("parameters", summary.parameters())
        .put("engine_name", summary.engineName())
        .put("engine", summary.engine())
        .put("precision", summary.precision())
        .put("unit", summary.unit().name())
        .put("items_per_step", summary.itemsPerStep())
        .put("first_step", summary.firstStep())
        .put("last_step", summary.lastStep());
  }

  private static JobSummary summary(JsonNode node) {
    return new JobSummary(
        node.path("name").asText(),
        node.path("world_size").intValue(),
        node.path("model").asText(),
        node.path("parameters").longValue(),
        node.path("engine_name").asText(),
        node.path("engine").asText(),
        node.path("precision").asText(),
        unit(node),
        node.path("items_per_step").longValue(),
        node.path("first_step").longValue(),
        node.path("last_step").longValue());
  }

  private static Unit unit(JsonNode node) {
    return Unit.valueOf(node.path("unit").asText());
  }

  private static void write(ObjectNode node, Evaluation evaluation) {
    node.put("loss", evaluation.loss()).put("items", evaluation.items());
    evaluation.accuracy().ifPresent(accuracy -> node.put("accuracy", accuracy));
  }

  private static Evaluation evaluation(JsonNode node) {
    return new Evaluation(
        real(node, "loss"), node.path("items").longValue(), optionalReal(node, "accuracy"));
  }

  private static void write(ObjectNode node, StepRecord step) {
    node.put("step", step.step())
        .put("loss", step.loss())
        .put("grad_norm", step.gradientNorm())
        .put("lr", step.learningRate())
        .put("items", step.items())
        .put("step_ms", step.stepMillis());
    step.lossScale()
        .ifPresent(scale -> node.put("loss_scale", scale).put("skipped", step.isSkipped()));
    step.expertLoad().ifPresent(load -> node.put("expert_load", load));
  }

  private static StepRecord step(JsonNode node) {
    return new StepRecord(
        node.path("step").longValue(),
        real(node, "loss"),
        real(node, "grad_norm"),
        real(node, "lr"),
        node.path("items").longValue(),
        real(node, "step_ms"),
        optionalReal(node, "loss_scale"),
        optionalReal(node, "expert_load"),
        node.path("skipped").booleanValue());
  }

  private static void write(ObjectNode node, JobResult result) {
    node.put("outcome", result.outcome().name())
        .put("steps", result.steps())
        .put("loss", result.lastLoss())
        .put("seconds", result.seconds())
        .put("unit", result.unit().name())
        .put("items_per_second", result.itemsPerSecond())
        .put("peak_rss_bytes", result.peakResidentBytes());
    result.lastEvaluation().ifPresent(last -> write(node.putObject("evaluation"), last));
    result.lastCheckpoint().ifPresent(path -> node.put("checkpoint", path.toString()));
    result.report().ifPresent(path -> node.put("report", path.toString()));
  }

  private static JobResult result(JsonNode node) {
    return new JobResult(
        JobResult.Outcome.valueOf(node.path("outcome").asText()),
        node.path("steps").longValue(),
        real(node, "loss"),
        node.has("evaluation")
            ? Optional.of(evaluation(node.path("evaluation")))
            : Optional.empty(),
        real(node, "seconds"),
        unit(node),
        real(node, "items_per_second"),
        node.path("peak_rss_bytes").longValue(),
        optionalPath(node, "checkpoint"),
        optionalPath(node, "report"));
  }

  private static void write(ObjectNode node, Failure failure) {
    node.put("status", failure.status().name())
        .put("blame", failure.blame().name())
        .put("message", failure.message())
        .put("stack_trace", failure.stackTrace());
  }

  private static Failure failure(JsonNode node) {
    return new Failure(
        ExitStatus.valueOf(node.path("status").asText()),
        Failure.Blame.valueOf(node.path("blame").asText()),
        node.path("message").asText(),
        node.path("stack_trace").asText());
  }

  private static Optional<RankStatistics> statistics(JsonNode node) throws JsonProcessingException {
    return node.has("statistics")
        ? Optional.of(MAPPER.treeToValue(node.path("statistics"), RankStatistics.class))
        : Optional.empty();
  }

  private static double real(JsonNode node, String key) {
    JsonNode value = node.path(key);
    return value.isTextual() ? Double.parseDouble(value.asText()) : value.doubleValue();
  }

  private static OptionalDouble optionalReal(JsonNode node, String key) {
    return node.has(key) ? OptionalDouble.of(real(node, key)) : OptionalDouble.empty();
  }

  private static Path path(JsonNode node, String key) {
    return Path.of(node.path(key).asText());
  }

  private static Optional<Path> optionalPath(JsonNode node, String key) {
    return node.has(key) ? Optional.of(path(node, key)) : Optional.empty();
  }
}
