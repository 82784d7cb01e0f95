package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.parallelism.pipeline.Action;
import dev.phalanx.parallelism.pipeline.PipelineSchedules;
import dev.phalanx.parallelism.pipeline.ScheduleDrawing;
import dev.phalanx.parallelism.pipeline.ScheduleException;
import dev.phalanx.parallelism.pipeline.ScheduleSimulator;
import dev.phalanx.parallelism.pipeline.ScheduleTable;
import dev.phalanx.parallelism.pipeline.ScheduleTiming;
import dev.phalanx.parallelism.pipeline.StageCosts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code phalanx schedule}: checks, times and draws a pipeline schedule; nothing is trained. */
@Command(
    name = "schedule",
    description =
        "Checks, times and draws a pipeline schedule. Times are those of one micro-batch on one"
            + " rank, in any unit: one for all ranks, or one for each with commas between; a rank"
            + " with several stages divides them equally.")
final class ScheduleCommand implements Callable<Integer> {
  /** In any unit, so that sums of many are still numbers. */
  private static final double LONGEST_TIME = 1e100;

  /** More would fill the memory, and no picture shows them. */
  private static final long MOST_ACTIONS = 4_000_000;

  @Option(
      names = "--kind",
      paramLabel = "NAME|FILE",
      defaultValue = "1f1b",
      description =
          "gpipe, 1f1b, interleaved, zb-h1, zb-h2, or a file with a table (default:"
              + " ${DEFAULT-VALUE})")
  private String kind = "1f1b";

  @Option(names = "--stages", paramLabel = "P", description = "ranks of the pipeline (default: 4)")
  private @Nullable Integer ranks;

  @Option(
      names = "--micro-batches",
      paramLabel = "M",
      description = "micro-batches of a step (default: 8)")
  private @Nullable Integer microBatches;

  @Option(
      names = "--virtual",
      paramLabel = "V",
      description = "stages of each rank, for interleaved (default: 1; of interleaved 2)")
  private @Nullable Integer virtualStages;

  @Option(
      names = "--forward",
      paramLabel = "T",
      split = ",",
      defaultValue = "1",
      description = "a forward pass (default: ${DEFAULT-VALUE})")
  private double[] forward = {1};

  @Option(
      names = "--backward-input",
      paramLabel = "T",
      split = ",",
      defaultValue = "1",
      description = "the gradient of a rank's input (default: ${DEFAULT-VALUE})")
  private double[] backwardInput = {1};

  @Option(
      names = "--backward-weight",
      paramLabel = "T",
      split = ",",
      defaultValue = "1",
      description = "the gradients of its weights (default: ${DEFAULT-VALUE})")
  private double[] backwardWeight = {1};

  @Option(
      names = "--hop",
      paramLabel = "T",
      defaultValue = "0",
      description =
          "from the end of an action to the arrival of its result on another rank (default:"
              + " ${DEFAULT-VALUE})")
  private double hop;

  @Option(names = "--svg", paramLabel = "FILE", description = "draw it into this file")
  private @Nullable Path picture;

  @Option(names = "--table", paramLabel = "FILE", description = "write the table into this file")
  private @Nullable Path tableFile;

  @Mixin private CommonOptions common = new CommonOptions();

  @Override
  public Integer call() throws IOException {
    requireTimes("--forward", forward);
    requireTimes("--backward-input", backwardInput);
    requireTimes("--backward-weight", backwardWeight);
    requireTimes("--hop", hop);
    ScheduleTiming timing;
    ScheduleTable table;
    try {
      table = table();
      timing = ScheduleSimulator.simulate(table, costs(table));
    } catch (ScheduleException e) {
      throw CommandException.usage(String.valueOf(e.getMessage()));
    }
    if (tableFile != null) {
      Files.writeString(tableFile, table.text());
    }
    if (picture != null) {
      Files.writeString(picture, ScheduleDrawing.svg(timing, title(table, timing)));
    }
    tell(table, timing);
    return 0;
  }

  /** A rank's times, divided equally among its stages. */
  private StageCosts costs(ScheduleTable table) {
    int count = table.ranks().size();
    double[] forwards = ofRanks("--forward", forward, count);
    double[] inputs = ofRanks("--backward-input", backwardInput, count);
    double[] weights = ofRanks("--backward-weight", backwardWeight, count);
    List<StageCosts> costs =
        IntStream.range(0, count)
            .mapToObj(rank -> StageCosts.uniform(forwards[rank], inputs[rank], weights[rank], hop))
            .toList();
    int[] stagesOfRank =
        IntStream.range(0, count).map(rank -> table.stagesOf(rank).size()).toArray();
    return new StageCosts() {
      @Override
      public double of(Action action) {
        int rank = table.rankOf(action.stage());
        return costs.get(rank).of(action) / stagesOfRank[rank];
      }

      @Override
      public double hop() {
        return hop;
      }
    };
  }

  private static double[] ofRanks(String option, double[] times, int ranks) {
    if (times.length == 1) {
      double[] same = new double[ranks];
      Arrays.fill(same, times[0]);
      return same;
    }
    if (times.length != ranks) {
      throw CommandException.usage(
          option
              + " has "
              + times.length
              + " times for "
              + ranks
              + " ranks; write one for all, or one for each with commas between");
    }
    return times;
  }

  private static void requireTimes(String option, double... times) {
    for (double time : times) {
      if (!(time >= 0 && time <= LONGEST_TIME)) {
        throw CommandException.usage(
            option + " is " + time + "; write a time from 0 to " + LONGEST_TIME);
      }
    }
  }

  private ScheduleTable table() throws IOException {
    if (!PipelineSchedules.NAMES.contains(kind)) {
      return fromFile(Path.of(kind));
    }
    int stages = Optional.ofNullable(ranks).orElse(4);
    int batches = Optional.ofNullable(microBatches).orElse(8);
    int stagesOfRank =
        Optional.ofNullable(virtualStages).orElse(kind.equals("interleaved") ? 2 : 1);
    requireCount("--stages", stages);
    requireCount("--micro-batches", batches);
    requireCount("--virtual", stagesOfRank);
    int ofMicroBatch = kind.startsWith("zb-") ? 3 : 2; // forward and backward, in one or two
    if ((double) stages * batches * stagesOfRank * ofMicroBatch > MOST_ACTIONS) {
      throw CommandException.usage(
          "a schedule of "
              + stages
              + " ranks, "
              + batches
              + " micro-batches and "
              + stagesOfRank
              + " stages a rank has more than "
              + MOST_ACTIONS
              + " actions; write smaller numbers");
    }
    return PipelineSchedules.named(kind, stagesOfRank).table(stages, batches);
  }

  private ScheduleTable fromFile(Path file) throws IOException {
    if (ranks != null || microBatches != null || virtualStages != null) {
      throw CommandException.usage(
          "--stages, --micro-batches and --virtual are for schedules with a name; the table "
              + kind
              + " has its own");
    }
    if (!Files.isRegularFile(file)) {
      throw CommandException.usage(
          "there is no schedule and no file "
              + kind
              + "; the names are "
              + String.join(", ", PipelineSchedules.NAMES));
    }
    try {
      return ScheduleTable.parse(ScheduleTable.text(file));
    } catch (ScheduleException e) {
      throw CommandException.usage(kind + ": " + e.getMessage());
    }
  }

  private static void requireCount(String option, int count) {
    if (count < 1) {
      throw CommandException.usage(option + " is " + count + "; write a number from 1");
    }
  }

  private void tell(ScheduleTable table, ScheduleTiming timing) {
    Console console = common.console();
    if (common.isJson) {
      ObjectNode result = new ObjectMapper().createObjectNode();
      result.put("kind", kind);
      result.put("ranks", table.ranks().size());
      result.put("stages", table.stages());
      result.put("micro_batches", table.microBatches());
      result.put("cost", timing.cost());
      result.put("makespan", timing.makespan());
      result.put("bubble_rate", timing.bubbleRate());
      ArrayNode peaks = result.putArray("peak_micro_batches");
      for (int rank = 0; rank < table.ranks().size(); rank++) {
        add(peaks, table.peakMicroBatches(rank));
      }
      ArrayNode waits = result.putArray("waits");
      for (int rank = 0; rank < table.ranks().size(); rank++) {
        waits.add(timing.makespan() - timing.busy(rank));
      }
      result.put("deadlock_free", true);
      console.result(result.toString());
      return;
    }
    ScheduleDrawing.text(timing).lines().forEach(console::result);
    console.result(title(table, timing));
    console.result(
        "micro-batches that a rank holds at most: "
            + IntStream.range(0, table.ranks().size())
                .mapToObj(rank -> number(table.peakMicroBatches(rank)))
                .collect(Collectors.joining(" ")));
  }

  /** A whole number without a fraction. */
  static void add(ArrayNode numbers, double number) {
    if (number == Math.rint(number)) {
      numbers.add((int) number);
    } else {
      numbers.add(number);
    }
  }

  private String title(ScheduleTable table, ScheduleTiming timing) {
    return String.format(
        Locale.ROOT,
        "%s, %d stages on %d ranks, %d micro-batches: cost %s, idle %.2f %%",
        kind,
        table.stages(),
        table.ranks().size(),
        table.microBatches(),
        number(timing.cost()),
        100 * timing.bubbleRate());
  }

  /** With four decimals at most. */
  private static String number(double number) {
    return new DecimalFormat("0.####", DecimalFormatSymbols.getInstance(Locale.ROOT))
        .format(number);
  }
}
