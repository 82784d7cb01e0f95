package dev.phalanx.parallelism.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

@Timeout(120)
final class PipelineScheduleTest {
  private static final int MOST_RANKS = 16;
  private static final int MOST_MICRO_BATCHES = 64;

  static Stream<PipelineSchedule> all() {
    return Stream.of(
        new GPipe(),
        new OneForwardOneBackward(),
        new InterleavedOneForwardOneBackward(1),
        new InterleavedOneForwardOneBackward(2),
        new InterleavedOneForwardOneBackward(3),
        new InterleavedOneForwardOneBackward(4),
        new ZeroBubble(ZeroBubble.Variant.H1),
        new ZeroBubble(ZeroBubble.Variant.H2));
  }

  /** That it is complete, its table's constructor sees to. */
  @ParameterizedTest
  @MethodSource("all")
  void everyTableIsCompleteAndComesToItsEnd(PipelineSchedule schedule) {
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
      for (int microBatches = 1; microBatches <= MOST_MICRO_BATCHES; microBatches++) {
        ScheduleTable table = schedule.table(ranks, microBatches);
        ScheduleSimulator.requireNoDeadlock(table);
        assertThat(table.microBatches()).isEqualTo(microBatches);
        assertThat(table.ranks()).hasSize(ranks);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "2, 1", "4, 3", "8, 24", "16, 64"})
  void ranksHoldAsManyMicroBatchesAsTheirScheduleSays(int ranks, int microBatches) {
    for (int rank = 0; rank < ranks; rank++) {
      assertThat(new GPipe().table(ranks, microBatches).peakMicroBatches(rank))
          .isEqualTo(microBatches);
      assertThat(new OneForwardOneBackward().table(ranks, microBatches).peakMicroBatches(rank))
          .isEqualTo(Math.min(microBatches, ranks - rank));
      assertThat(
              new ZeroBubble(ZeroBubble.Variant.H1)
                  .table(ranks, microBatches)
                  .peakMicroBatches(rank))
          .isEqualTo(Math.min(microBatches, ranks));
      assertThat(
              new ZeroBubble(ZeroBubble.Variant.H2)
                  .table(ranks, microBatches)
                  .peakMicroBatches(rank))
          .isEqualTo(Math.min(microBatches, 2 * ranks - 1));
    }
  }

  /** Korthikanti et al., 2022, 4.2.1: 1 + (p - 1) / (p v) times as many as without stages. */
  @ParameterizedTest
  @CsvSource({"4, 8, 2", "8, 24, 3", "16, 64, 4"})
  void theFirstRankOfAnInterleavedScheduleHoldsMore(int ranks, int microBatches, int stages) {
    ScheduleTable table = new InterleavedOneForwardOneBackward(stages).table(ranks, microBatches);
    assertThat(table.peakMicroBatches(0))
        .isCloseTo(ranks * (1 + (ranks - 1.0) / (ranks * stages)), within(1e-12));
  }

  @ParameterizedTest
  @CsvSource({"2, 4", "4, 8", "8, 24", "16, 64"})
  void idleTimesAreThoseOfThePapers(int ranks, int microBatches) {
    double forward = 5;
    double input = 4;
    double weight = 3;
    StageCosts costs = StageCosts.uniform(forward, input, weight, 0);
    double work = microBatches * (forward + input + weight);
    assertIdle(new GPipe(), ranks, microBatches, costs, work, (ranks - 1) * 12.0);
    assertIdle(new OneForwardOneBackward(), ranks, microBatches, costs, work, (ranks - 1) * 12.0);
    assertIdle(
        new ZeroBubble(ZeroBubble.Variant.H1),
        ranks,
        microBatches,
        costs,
        work,
        (ranks - 1) * (forward + input - weight));
    assertIdle(
        new ZeroBubble(ZeroBubble.Variant.H2),
        ranks,
        microBatches,
        costs,
        work,
        (ranks - 1) * (forward + input - 2 * weight));
    StageCosts ofHalves = StageCosts.uniform(forward / 2, input / 2, weight / 2, 0);
    assertIdle(
        new InterleavedOneForwardOneBackward(2),
        ranks,
        microBatches,
        ofHalves,
        work,
        (ranks - 1) * 6.0);
  }

  private static void assertIdle(
      PipelineSchedule schedule,
      int ranks,
      int microBatches,
      StageCosts costs,
      double work,
      double idle) {
    ScheduleTiming timing = ScheduleSimulator.simulate(schedule.table(ranks, microBatches), costs);
    assertThat(timing.cost()).as("%s", schedule).isCloseTo(work + idle, within(1e-9));
    assertThat(timing.bubbleRate()).isCloseTo(idle / (work + idle), within(1e-12));
  }

  /** Qi et al., 2023, "Zero Bubble Pipeline Parallelism", with measured times in milliseconds. */
  @ParameterizedTest
  @CsvSource({
    " 8,  24, 18.522, 18.086, 9.337, .601, .2431, .1055, .1585, .1083",
    " 8,  32, 18.513, 18.086, 9.331, .626, .1985, .0818, .1242, .0837",
    " 8,  64, 18.546, 18.097, 9.321, .762, .1240, .0443, .0674, .0444",
    "16,  48, 11.347, 11.248, 8.132, .377, .2552, .1104, .1397, .0672",
    "16,  64, 11.307, 11.254, 8.101, .379, .2082, .0852, .1088, .0516",
    "16, 128, 11.325, 11.308, 8.109, .378, .1251, .0445, .0576, .0266"
  })
  void bubbleRatesAreThoseOfThePaper(
      int ranks,
      int microBatches,
      double forward,
      double input,
      double weight,
      double hop,
      double oneForwardOneBackward,
      double interleaved,
      double h1,
      double h2) {
    StageCosts costs = StageCosts.uniform(forward, input, weight, hop);
    assertThat(rate(new OneForwardOneBackward(), ranks, microBatches, costs))
        .isCloseTo(oneForwardOneBackward, within(5.1e-5));
    assertThat(rate(new ZeroBubble(ZeroBubble.Variant.H1), ranks, microBatches, costs))
        .isCloseTo(h1, within(5.1e-5));
    assertThat(rate(new ZeroBubble(ZeroBubble.Variant.H2), ranks, microBatches, costs))
        .isCloseTo(h2, within(5.1e-5));
    int stages = 3;
    StageCosts ofStage = StageCosts.uniform(forward / stages, input / stages, weight / stages, hop);
    assertThat(rate(new InterleavedOneForwardOneBackward(stages), ranks, microBatches, ofStage))
        .isCloseTo(interleaved, within(0.05 * interleaved));
  }

  private static double rate(
      PipelineSchedule schedule, int ranks, int microBatches, StageCosts costs) {
    return ScheduleSimulator.simulate(schedule.table(ranks, microBatches), costs).bubbleRate();
  }

  @ParameterizedTest
  @MethodSource("all")
  void aTableIsReadBackFromItsText(PipelineSchedule schedule) {
    ScheduleTable table = schedule.table(3, 5);
    assertThat(ScheduleTable.parse(table.text())).isEqualTo(table);
  }

  @Test
  void pytorchsFilesAreRead() {
    assertThat(ScheduleTable.parse("0F0,0F1,,0B0,,0B1\n\n,1F0,1B0,1F1,1B1, # the last stage\n"))
        .isEqualTo(ScheduleTable.parse("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "0F0 0X0            | line 1: '0X0' is no action",
        "0F0 0B0;1F0 1B00000000 | line 2: '1B00000000' is no action",
        "0F0                | 0B0, or 0I0 and 0W0, is missing",
        "0B0                | 0F0 is missing",
        "0F0 0I0            | 0W0 is missing",
        "0F0 0W0            | 0I0 is missing",
        "0F0 0B0 0W0        | 0B0 is a whole backward pass, and there is 0W0 too",
        "0F0 0B0 0F0        | 0F0 stands twice on rank 0",
        "0F0 0B0;0F1 0B1    | stage 0 is on rank 0 and, with 0F1, on rank 1",
        "0F0 0B0;2F0 2B0    | no rank has stage 1",
        "#                  | the table has no action"
      })
  void tablesThatAreNotCompleteAreRefused(String lines, String message) {
    assertThatThrownBy(() -> ScheduleTable.parse(lines.replace(';', '\n')))
        .isInstanceOf(ScheduleException.class)
        .hasMessageContaining(message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "0F0 0B0 0F1 0B1;1F1 1F0 1B0 1B1 | rank 0 waits before 0B0 for 1B0 of rank 1, rank 1 waits"
            + " before 1F1 for 0F1 of rank 0",
        "0B0 0F0 | rank 0 waits before 0B0 for 0F0 of its own",
        "0F0 0W0 0I0 | rank 0 waits before 0W0 for 0I0 of its own",
        "0F0 0B0 2F0 2B0;1F0 1B0 | rank 0 waits before 0B0 for 1B0 of rank 1, rank 1 waits before"
            + " 1B0 for 2B0 of rank 0"
      })
  void aTableThatNeverEndsIsRefusedWithWhoWaitsForWhom(String lines, String message) {
    ScheduleTable table = ScheduleTable.parse(lines.replace(';', '\n'));
    assertThatThrownBy(() -> ScheduleSimulator.requireNoDeadlock(table))
        .isInstanceOf(ScheduleException.class)
        .hasMessageStartingWith("the schedule never ends: ")
        .hasMessageContaining(message);
  }

  @Test
  void aResultOfTheSameRankNeedsNoHop() {
    ScheduleTable folded = ScheduleTable.parse("0F0 1F0 1B0 0B0");
    assertThat(ScheduleSimulator.simulate(folded, StageCosts.uniform(1, 1, 1, 100)).cost())
        .isEqualTo(6);
    ScheduleTable apart = ScheduleTable.parse("0F0 0B0\n1F0 1B0");
    ScheduleTiming timing = ScheduleSimulator.simulate(apart, StageCosts.uniform(1, 1, 1, 100));
    assertThat(timing.makespan()).isEqualTo(206);
    assertThat(timing.busy(0)).isEqualTo(3);
  }

  @Test
  void namesThatAreNoneAndStagesThatDoNotFitAreRefused() {
    PipelineSchedules.NAMES.forEach(
        name -> assertThat(PipelineSchedules.named(name, 1).table(2, 2).ranks()).hasSize(2));
    assertThatThrownBy(() -> PipelineSchedules.named("1b1f", 1)).hasMessageContaining("1f1b");
    assertThatThrownBy(() -> PipelineSchedules.named("zb-h1", 2)).hasMessageContaining("one stage");
    assertThatThrownBy(() -> new GPipe().table(0, 1)).hasMessageContaining("not 0 and 1");
    assertThatThrownBy(() -> new InterleavedOneForwardOneBackward(0)).hasMessageContaining("not 0");
  }

  @Test
  void picturesShowEveryAction() {
    ScheduleTiming timing =
        ScheduleSimulator.simulate(
            new OneForwardOneBackward().table(2, 2), StageCosts.uniform(1, 1, 1, 0));
    assertThat(ScheduleDrawing.text(timing).lines().toList())
        .isEqualTo(
            List.of(
                "rank 0  F0--F1--........B0------....B1------",
                "rank 1  ....F0--B0------F1--B1------........"));
    String svg = ScheduleDrawing.svg(timing, "a < b");
    assertThat(svg).contains("a &lt; b").contains("<title>1B1: 5.000 to 7.000</title>");
    assertThat(svg.split("<title>", -1)).hasSize(9);
  }
}
