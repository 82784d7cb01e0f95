package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.trainer.PlanCheck;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What {@code phalanx plan --check} says of a run. */
final class PlanCheckOutput {
  private PlanCheckOutput() {}

  static ObjectNode json(PlanCheck check) {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("agrees", check.agrees());
    check.whyNotAll().ifPresent(reason -> json.put("not_all_judged", reason));
    ArrayNode figures = json.putArray("figures");
    for (PlanCheck.Figure figure : check.figures()) {
      figures
          .addObject()
          .put("rank", figure.rank())
          .put("figure", figure.name())
          .put("predicted", figure.predicted())
          .put("measured", figure.measured())
          .put("judged", figure.isJudged())
          .put("agrees", figure.agrees());
    }
    return json;
  }

  static List<String> lines(PlanCheck check) {
    List<String> lines = new ArrayList<>();
    lines.add(row("rank", "figure", "predicted", "measured", "ratio", ""));
    for (PlanCheck.Figure figure : check.figures()) {
      lines.add(
          row(
              Integer.toString(figure.rank()),
              figure.name(),
              Long.toString(figure.predicted()),
              Long.toString(figure.measured()),
              figure.predicted() == 0
                  ? "-"
                  : String.format(
                      Locale.ROOT, "%.4f", (double) figure.measured() / figure.predicted()),
              !figure.isJudged() ? "  not judged" : figure.agrees() ? "" : "  differs"));
    }
    check.whyNotAll().ifPresent(reason -> lines.add("What is sent is not judged: " + reason + "."));
    if (check.agrees()) {
      lines.add("The run was as predicted.");
    }
    return lines;
  }

  private static String row(
      String rank, String name, String predicted, String measured, String ratio, String verdict) {
    return String.format(
        Locale.ROOT, "%-5s %-23s %16s %16s %9s%s", rank, name, predicted, measured, ratio, verdict);
  }

  /**
   * @throws CommandException where a figure is not as predicted
   */
  static void requireAgreement(PlanCheck check) {
    List<PlanCheck.Figure> differing = check.differing();
    if (!differing.isEmpty()) {
      PlanCheck.Figure first = differing.get(0);
      throw new CommandException(
          ExitStatus.RANK_FAILED,
          differing.size()
              + " of "
              + check.figures().size()
              + " figures are not as predicted, first "
              + first.name()
              + " of rank "
              + first.rank()
              + ": predicted "
              + first.predicted()
              + ", measured "
              + first.measured()
              + ". Give the plan file and the --set options that the run had; if it had these, what"
              + " ranks hold or send has changed.");
    }
  }
}
