package dev.phalanx.launcher.terminal;

import dev.phalanx.trainer.JobResult;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The lines that a user reads when a job has ended without an error. */
public final class Summary {
  private Summary() {}

  /**
   * @param command how the user calls Phalanx, {@code ./phalanx} for instance
   * @param prompt a beginning of a text that suits the data; empty where the model cannot be asked
   *     with text
   * @param baseDirectory paths inside it are shown relative to it
   */
  public static List<String> of(
      JobResult result, String command, Optional<String> prompt, Path baseDirectory) {
    List<String> lines = new ArrayList<>();
    String verb = result.outcome() == JobResult.Outcome.COMPLETED ? "Done" : "Stopped";
    lines.add(
        verb
            + ": "
            + result.steps()
            + " steps, "
            + Quantities.duration(result.seconds())
            + " in this run");
    if (Double.isNaN(result.lastLoss())) {
      lines.add("  nothing was left to do: write more steps in the plan to go on");
      addPlaces(lines, result, baseDirectory);
      return lines;
    }
    String evaluation =
        result
            .lastEvaluation()
            .map(last -> ", on held-out data " + Quantities.evaluation(last))
            .orElse("");
    lines.add("  loss         " + Quantities.loss(result.lastLoss()) + evaluation);
    lines.add(
        "  speed        "
            + Quantities.count(result.itemsPerSecond())
            + " "
            + result.unit().label()
            + "/s");
    lines.add(
        "  peak memory  " + Quantities.bytes(result.peakResidentBytes()) + " in the largest rank");
    addPlaces(lines, result, baseDirectory);
    if (result.lastCheckpoint().isPresent() && prompt.isPresent()) {
      lines.add("Try it:");
      lines.add(
          "  "
              + command
              + " generate --checkpoint "
              + shown(result.lastCheckpoint().get(), baseDirectory)
              + " --prompt \""
              + prompt.get()
              + "\" --max-tokens 200");
    }
    return lines;
  }

  private static void addPlaces(List<String> lines, JobResult result, Path baseDirectory) {
    result
        .lastCheckpoint()
        .ifPresent(path -> lines.add("  checkpoint   " + shown(path, baseDirectory)));
    result.report().ifPresent(path -> lines.add("  report       " + shown(path, baseDirectory)));
  }

  private static String shown(Path path, Path baseDirectory) {
    Path absolute = baseDirectory.resolve(path).toAbsolutePath().normalize();
    Path base = baseDirectory.toAbsolutePath().normalize();
    return absolute.startsWith(base) ? base.relativize(absolute).toString() : absolute.toString();
  }
}
