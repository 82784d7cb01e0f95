package dev.phalanx.launcher.event;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import dev.phalanx.collectives.Traffic;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.RankStatistics;
import dev.phalanx.trainer.StepRecord;
import dev.phalanx.trainer.Unit;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;

final class EventCodecTest {
  private static final Arbitrary<Unit> UNITS = Arbitraries.of(Unit.class);
  private static final Arbitrary<Integer> RANKS = Arbitraries.integers().greaterOrEqual(0);
  private static final Arbitrary<Long> WHOLE = Arbitraries.longs();
  private static final Arbitrary<String> TEXTS = Arbitraries.strings().ofMaxLength(40);
  private static final Arbitrary<Double> REALS =
      Arbitraries.oneOf(
          Arbitraries.longs().map(Double::longBitsToDouble),
          Arbitraries.of(
              0.0, -0.0, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 1e10));
  private static final Arbitrary<Path> PATHS =
      Arbitraries.strings().alpha().numeric().withChars("/ ._-\"\\").ofMaxLength(40).map(Path::of);

  @Provide
  Arbitrary<WorkerEvent> events() {
    return Arbitraries.oneOf(
        Combinators.combine(RANKS, summaries()).as(WorkerEvent.Started::new),
        Combinators.combine(RANKS, steps()).as(WorkerEvent.StepFinished::new),
        Combinators.combine(RANKS, WHOLE, evaluations()).as(WorkerEvent.Evaluated::new),
        Combinators.combine(RANKS, WHOLE, PATHS).as(WorkerEvent.CheckpointSaved::new),
        Combinators.combine(RANKS, WHOLE, PATHS).as(WorkerEvent.Resumed::new),
        Combinators.combine(RANKS, results().optional()).as(WorkerEvent.Finished::new),
        Combinators.combine(RANKS, failures(), statistics().optional())
            .as(WorkerEvent.Failed::new));
  }

  private static Arbitrary<JobSummary> summaries() {
    return Combinators.combine(TEXTS, RANKS, WHOLE, TEXTS, TEXTS, UNITS, WHOLE, WHOLE)
        .as(
            (name, worldSize, parameters, engine, precision, unit, items, step) ->
                new JobSummary(
                    name,
                    worldSize,
                    engine + name,
                    parameters,
                    name + engine,
                    engine,
                    precision,
                    unit,
                    items,
                    step,
                    ~step));
  }

  private static Arbitrary<Evaluation> evaluations() {
    return Combinators.combine(REALS, WHOLE, REALS.optional())
        .as(
            (loss, items, accuracy) ->
                new Evaluation(
                    loss, items, accuracy.map(OptionalDouble::of).orElse(OptionalDouble.empty())));
  }

  private static Arbitrary<StepRecord> steps() {
    return Combinators.combine(
            WHOLE, REALS, REALS, REALS, WHOLE, REALS, REALS.optional(), REALS.optional())
        .as(
            (step, loss, norm, rate, tokens, millis, scale, load) ->
                new StepRecord(
                    step,
                    loss,
                    norm,
                    rate,
                    tokens,
                    millis,
                    scale.map(OptionalDouble::of).orElse(OptionalDouble.empty()),
                    load.map(OptionalDouble::of).orElse(OptionalDouble.empty()),
                    scale.isPresent() && step % 2 == 0));
  }

  private static Arbitrary<JobResult> results() {
    return Combinators.combine(
            Arbitraries.of(JobResult.Outcome.class),
            WHOLE,
            REALS,
            PATHS.optional(),
            REALS,
            evaluations().optional(),
            UNITS)
        .as(
            (outcome, whole, real, path, other, evaluation, unit) ->
                new JobResult(
                    outcome,
                    whole,
                    real,
                    evaluation,
                    -real,
                    unit,
                    -other,
                    ~whole,
                    path,
                    path.isPresent() ? Optional.empty() : Optional.of(Path.of("report.json"))));
  }

  private static Arbitrary<Failure> failures() {
    return Combinators.combine(
            Arbitraries.of(ExitStatus.class), Arbitraries.of(Failure.Blame.class), TEXTS, TEXTS)
        .as(Failure::new);
  }

  private static Arbitrary<RankStatistics> statistics() {
    return Combinators.combine(RANKS, WHOLE, WHOLE, REALS, REALS)
        .as(
            (rank, bytes, messages, compute, idle) ->
                new RankStatistics(
                    rank,
                    bytes,
                    ~bytes,
                    bytes / 2,
                    bytes / 3,
                    bytes / 5,
                    Map.of(
                        Axis.DATA, new Traffic(messages, ~messages),
                        Axis.TENSOR, new Traffic(bytes, rank)),
                    compute,
                    -compute,
                    idle,
                    rank % 2 == 0
                        ? null
                        : new CompressionStatistics(bytes, messages, ~bytes, idle)));
  }

  @Property
  void everyEventReadsBackExactlyAsItWas(@ForAll("events") WorkerEvent event) {
    assertThat(EventCodec.decode(EventCodec.encode(event))).contains(event);
  }

  @Property
  void anEventIsOneLineWhateverItsTextsHold(@ForAll("events") WorkerEvent event) {
    assertThat(EventCodec.encode(event))
        .doesNotContain("\n", "\r", String.valueOf(EventCodec.RECORD_SEPARATOR));
  }

  @Property
  void anEventThatWasCutOffIsNone(
      @ForAll("events") WorkerEvent event, @ForAll @IntRange(max = 10_000) int cut) {
    String json = EventCodec.encode(event);

    assertThat(EventCodec.decode(json.substring(0, cut % json.length()))).isEmpty();
  }

  @Property
  void noTextBreaksTheReader(@ForAll String text) {
    assertThatCode(() -> EventCodec.decode(text)).doesNotThrowAnyException();
  }

  @Example
  void otherTextsAreNoEvents() {
    assertThat(
            new String[] {
              "",
              "null",
              "7",
              "[]",
              "{}",
              "OMP: Warning #190: forking a process",
              "{\"event\":\"step\",\"step\":1}",
              "{\"rank\":-1,\"event\":\"step\",\"step\":1}",
              "{\"rank\":0}",
              "{\"rank\":0,\"event\":\"unheard-of\"}",
              "{\"rank\":0,\"event\":\"step\",\"step\":1,\"loss\":\"little\"}",
              "{\"rank\":0,\"event\":\"finished\",\"outcome\":\"PERHAPS\"}",
              "{\"rank\":0,\"event\":\"failed\",\"status\":\"DONE\",\"blame\":\"NOBODY\"}"
            })
        .allSatisfy(text -> assertThat(EventCodec.decode(text)).as(text).isEmpty());
  }
}
