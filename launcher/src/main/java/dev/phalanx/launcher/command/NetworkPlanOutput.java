package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.terminal.Quantities;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.trainer.FamilyRehearsal;
import dev.phalanx.trainer.TrainedModel;
import dev.phalanx.trainer.config.JobConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What {@code phalanx plan} says of a network, under the names that it has for transformers. */
final class NetworkPlanOutput {
  private NetworkPlanOutput() {}

  static ObjectNode json(FamilyRehearsal found, JobConfig config, int ranks) {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("parameters", found.parameters());
    json.put("world_size", ranks);
    json.putObject("mesh").put(Axis.DATA.label(), ranks);
    TrainedModel.Memory memory = found.memory();
    ObjectNode rank = json.putArray("ranks").addObject().put("rank", 0);
    rank.put("weight_bytes", memory.parameters());
    rank.put("gradient_bytes", memory.gradients());
    rank.put("optimizer_bytes", memory.optimizer());
    rank.put("activation_bytes", memory.peakActivations());
    rank.put("bytes_sent_per_step", found.sent().bytes());
    rank.putObject("bytes_sent").put(Axis.DATA.label(), found.sent().bytes());
    rank.putObject("messages_sent").put(Axis.DATA.label(), found.sent().messages());
    PlanCommand.add(json.putArray("communication"), Axis.DATA, found.sent());
    json.put("samples_per_step", config.batch().global());
    return json;
  }

  static List<String> lines(FamilyRehearsal found, JobConfig config, int ranks) {
    List<String> lines = new ArrayList<>();
    lines.add(
        String.format(
            Locale.ROOT,
            "%s: %,d parameters, %s, %,d samples a step",
            config.name(),
            found.parameters(),
            found.precision(),
            config.batch().global()));
    lines.add("mesh: " + ranks + " ranks = data " + ranks);
    lines.add("");
    lines.add(
        PlanCommand.row("rank", "weights", "gradients", "optimizer", "activations", "sent a step"));
    TrainedModel.Memory memory = found.memory();
    lines.add(
        PlanCommand.row(
            "0",
            Quantities.bytes(memory.parameters()),
            Quantities.bytes(memory.gradients()),
            Quantities.bytes(memory.optimizer()),
            Quantities.bytes(memory.peakActivations()),
            Quantities.bytes(found.sent().bytes())));
    lines.addAll(PlanCommand.sent(Axis.DATA, found.sent()));
    return lines;
  }
}
