package dev.phalanx.trainer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToLongFunction;
import java.util.stream.Stream;

/**
 * What a run has counted, by its report, beside what its plan predicts: what ranks hold to the
 * byte, activations within 5 %, what ranks send to the byte and to the message where that follows
 * from the plan alone.
 *
 * @param figures of each rank that was predicted
 * @param whyNotAll why what ranks send is shown but not held to the prediction; empty where it is
 */
public record PlanCheck(List<Figure> figures, Optional<String> whyNotAll) {
  private static final String ACTIVATIONS = "peak_activation_bytes";

  private static final Traffic NOTHING = new Traffic(0, 0);

  /** Values and gradients. */
  private static final int SHARED_TENSORS = 2;

  /** What is sent along a pipeline is freed when it has left, which no two runs do alike. */
  private static final double ACTIVATION_TOLERANCE = 0.05;

  /**
   * @param name the report's, with the axis where there is one: {@code bytes_sent.tensor}
   * @param least what the measured figure may be
   * @param most likewise
   * @param isJudged whether it must be between them
   */
  public record Figure(
      int rank,
      String name,
      long predicted,
      long measured,
      long least,
      long most,
      boolean isJudged) {
    public boolean agrees() {
      return measured >= least && measured <= most;
    }
  }

  /** A report is none of this plan's run. */
  public static final class NotThisRunException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NotThisRunException(String message) {
      super(message);
    }
  }

  public PlanCheck {
    figures = List.copyOf(figures);
  }

  /**
   * Reads a report.
   *
   * @throws NotThisRunException where the file is something else
   * @throws IOException where it cannot be read
   */
  public static JsonNode read(Path file) throws IOException {
    JsonNode report;
    try (InputStream text = Files.newInputStream(file)) {
      report = new ObjectMapper().readTree(text);
    } catch (JsonProcessingException e) {
      throw new NotThisRunException(file + " is not JSON, as a run's report (log.report) is");
    }
    if (!report.path("world_size").isInt()
        || report.path("world_size").intValue() < 1
        || !report.path("ranks").isArray()) {
      throw new NotThisRunException(
          file + " has no world_size and ranks, as a run's report (log.report) has");
    }
    return report;
  }

  /**
   * @param plan of as many ranks as the report is of
   * @param config of the same plan
   * @throws NotThisRunException where the report is of another layout, or of a run that failed
   */
  public static PlanCheck of(JobPlan plan, JobConfig config, JsonNode report) {
    requireSameRun(plan, report);
    Optional<String> whyNotAll = whyNotAll(plan, config, report);
    return new PlanCheck(
        plan.ranks().stream()
            .flatMap(rank -> figures(plan, rank, report, whyNotAll.isEmpty()))
            .toList(),
        whyNotAll);
  }

  /** The figures that must agree and do not. */
  public List<Figure> differing() {
    return figures.stream().filter(figure -> figure.isJudged() && !figure.agrees()).toList();
  }

  /** Whether all figures that must agree do. */
  public boolean agrees() {
    return differing().isEmpty();
  }

  private static void requireSameRun(JobPlan plan, JsonNode report) {
    if (report.path("result").asText().equals("failed") || report.path("steps").isEmpty()) {
      throw new NotThisRunException(
          "the report is of a run that "
              + (report.path("result").asText().equals("failed") ? "failed" : "has no steps")
              + ", and only what whole steps hold and send is predicted");
    }
    for (Axis axis : Axis.values()) {
      int ran = report.path("mesh").path(axis.label()).asInt(1);
      if (ran != plan.mesh().size(axis)) {
        throw new NotThisRunException(
            "the report is of a run with "
                + axis.label()
                + " "
                + ran
                + ", and the plan has "
                + axis.label()
                + " "
                + plan.mesh().size(axis)
                + "; give the plan file and the --set options that the run had");
      }
    }
  }

  /** The first thing that sends what a plan does not tell, or in other messages. */
  private static Optional<String> whyNotAll(JobPlan plan, JobConfig config, JsonNode report) {
    if (config.communication().algorithm() != JobConfig.Algorithm.RING) {
      return Optional.of(
          "the plan counts the messages of communication.algorithm ring, and the run had "
              + config.communication().algorithm().label());
    }
    if (!(config.communication().compression() instanceof JobConfig.Compression.None)) {
      return Optional.of("what compression leaves to be sent may change from step to step");
    }
    if (!report.path("evaluations").isEmpty() || config.checkpoint().isPresent()) {
      return Optional.of("evaluations and checkpoints send something too");
    }
    for (JsonNode step : report.path("steps")) {
      if (step.path("skipped").asBoolean()) {
        return Optional.of("a skipped step sends less than the others");
      }
    }
    return isRoutedBetweenRanks(plan)
        ? Optional.of("what is sent to experts depends on the tokens")
        : Optional.empty();
  }

  /** Whether the tokens decide what a rank's experts compute. */
  private static boolean isRoutedBetweenRanks(JobPlan plan) {
    return plan.mesh().size(Axis.EXPERT) > 1
        && plan.model()
            .mixture()
            .filter(mixture -> mixture.perToken() < mixture.experts())
            .isPresent();
  }

  private static Stream<Figure> figures(
      JobPlan plan, JobPlan.Rank rank, JsonNode report, boolean isSentJudged) {
    JsonNode measured = measured(report, rank.number());
    long steps = report.path("steps").size();
    Traffic sharing = sharingMemory(plan.gradientGroups().get(0).size());
    return Stream.concat(
        held(rank, measured, !isRoutedBetweenRanks(plan)),
        RankGroups.COMMUNICATING_AXES.stream()
            .flatMap(
                axis ->
                    sent(
                        rank.number(),
                        axis,
                        rank.rehearsal().sent(axis, steps),
                        axis == Axis.DATA ? sharing : NOTHING,
                        measured,
                        isSentJudged)));
  }

  /**
   * What ranks of one host, but not those of several, tell each other at the start to find that
   * they can read each other's values and gradients: two numbers of 8 bytes, and a vote.
   */
  private static Traffic sharingMemory(int ranks) {
    long numbers = 2L * Long.BYTES * (ranks - 1);
    long vote = 2L * Integer.BYTES;
    return new Traffic(SHARED_TENSORS * (numbers + vote), SHARED_TENSORS * 3L * (ranks - 1));
  }

  private static JsonNode measured(JsonNode report, int rank) {
    for (JsonNode each : report.path("ranks")) {
      if (each.path("rank").asInt(-1) == rank) {
        return each;
      }
    }
    throw new NotThisRunException("the report has no entry for rank " + rank);
  }

  private static Stream<Figure> held(
      JobPlan.Rank rank, JsonNode measured, boolean areActivationsJudged) {
    Rehearsal predicted = rank.rehearsal();
    Map<String, Long> bytes = new LinkedHashMap<>();
    bytes.put("parameter_bytes", predicted.parameterBytes());
    bytes.put("gradient_bytes", predicted.gradientBytes());
    bytes.put("optimizer_bytes", predicted.optimizerBytes());
    bytes.put(ACTIVATIONS, predicted.peakActivationBytes());
    return bytes.entrySet().stream()
        .map(
            each -> {
              double away =
                  each.getKey().equals(ACTIVATIONS) ? ACTIVATION_TOLERANCE * each.getValue() : 0;
              return new Figure(
                  rank.number(),
                  each.getKey(),
                  each.getValue(),
                  measured.path(each.getKey()).asLong(),
                  (long) Math.ceil(each.getValue() - away),
                  (long) Math.floor(each.getValue() + away),
                  areActivationsJudged || !each.getKey().equals(ACTIVATIONS));
            });
  }

  /**
   * Of an axis along which something is sent.
   *
   * @param more that may come on top of what is predicted
   */
  private static Stream<Figure> sent(
      int rank, Axis axis, Traffic predicted, Traffic more, JsonNode measured, boolean isJudged) {
    Map<String, ToLongFunction<Traffic>> counts = new LinkedHashMap<>();
    counts.put("bytes_sent", Traffic::bytesSent);
    counts.put("messages_sent", Traffic::messagesSent);
    return counts.entrySet().stream()
        .map(
            each -> {
              long expected = each.getValue().applyAsLong(predicted);
              return new Figure(
                  rank,
                  each.getKey() + "." + axis.label(),
                  expected,
                  measured.path(each.getKey()).path(axis.label()).asLong(),
                  expected,
                  expected + each.getValue().applyAsLong(more),
                  isJudged);
            })
        .filter(figure -> figure.predicted() != 0 || figure.measured() != 0);
  }
}
