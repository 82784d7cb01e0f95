package dev.phalanx.parallelism.pipeline;

import java.util.List;

/** The schedules that have a name in plan files and on the command line. */
public final class PipelineSchedules {
  public static final List<String> NAMES =
      List.of("gpipe", "1f1b", "interleaved", "zb-h1", "zb-h2");

  private PipelineSchedules() {}

  /**
   * @param stagesOfRank more than 1 for {@code interleaved} only
   * @throws ScheduleException where there is no such schedule, or not with so many stages
   */
  public static PipelineSchedule named(String name, int stagesOfRank) {
    if (stagesOfRank != 1 && !name.equals("interleaved")) {
      throw new ScheduleException(
          "schedule "
              + name
              + " has one stage on each rank, not "
              + stagesOfRank
              + "; several are for interleaved");
    }
    return switch (name) {
      case "gpipe" -> new GPipe();
      case "1f1b" -> new OneForwardOneBackward();
      case "interleaved" -> new InterleavedOneForwardOneBackward(stagesOfRank);
      case "zb-h1" -> new ZeroBubble(ZeroBubble.Variant.H1);
      case "zb-h2" -> new ZeroBubble(ZeroBubble.Variant.H2);
      default ->
          throw new ScheduleException(
              "there is no schedule " + name + "; the names are " + String.join(", ", NAMES));
    };
  }
}
