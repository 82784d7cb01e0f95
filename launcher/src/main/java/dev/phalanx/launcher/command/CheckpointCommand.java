package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.LocalCheckpointStore;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.checkpoint.safetensors.SafetensorsFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** {@code phalanx checkpoint}: looks at checkpoints. */
@Command(
    name = "checkpoint",
    description = "Looks at checkpoints.",
    subcommands = {CheckpointCommand.Inspect.class, CheckpointCommand.Verify.class})
final class CheckpointCommand extends CommandGroup {
  CheckpointCommand() {
    super("name what to do: phalanx checkpoint inspect or verify");
  }

  /** {@code phalanx checkpoint inspect}. */
  @Command(name = "inspect", description = "Shows what a checkpoint holds.")
  static final class Inspect implements Callable<Integer> {
    @Parameters(
        paramLabel = "DIR",
        description = "a checkpoint, or a folder whose newest one is taken")
    private Path directory = Path.of("");

    @Mixin private CommonOptions common = new CommonOptions();

    @Override
    public Integer call() throws IOException {
      try (SavedCheckpoint checkpoint =
          SavedCheckpoint.open(LocalCheckpointStore.find(directory))) {
        CheckpointManifest manifest = checkpoint.manifest();
        long parameters = 0;
        SafetensorsFile model = checkpoint.model();
        for (String name : model.names()) {
          parameters += model.shape(name).elementCount();
        }
        if (common.isJson) {
          ObjectNode json = new ObjectMapper().createObjectNode();
          json.put("directory", checkpoint.directory().toString())
              .put("step", manifest.step())
              .put("samples", manifest.samples())
              .put("seed", manifest.seed())
              .put("world_size", manifest.worldSize())
              .put("optimizer", manifest.optimizer())
              .put("parameters", parameters)
              .put("plan", manifest.plan());
          ObjectNode tensors = json.putObject("tensors");
          for (String name : model.names()) {
            var shape = tensors.putArray(name);
            for (long size : model.shape(name).toArray()) {
              shape.add(size);
            }
          }
          common.console().result(json.toString());
        } else {
          StringBuilder text = new StringBuilder();
          text.append(checkpoint.directory()).append(": step ").append(manifest.step());
          text.append(", ").append(manifest.samples()).append(" samples read, ");
          text.append(parameters).append(" parameters, optimizer ").append(manifest.optimizer());
          text.append(", written by ").append(manifest.worldSize()).append(" ranks");
          for (String name : model.names()) {
            text.append(System.lineSeparator()).append("  ").append(name).append(' ');
            text.append(model.typeName(name)).append(' ').append(model.shape(name));
          }
          common.console().result(text.toString());
        }
        return 0;
      }
    }
  }

  /** {@code phalanx checkpoint verify}. */
  @Command(name = "verify", description = "Reads every byte of a checkpoint and checks it.")
  static final class Verify implements Callable<Integer> {
    @Parameters(
        paramLabel = "DIR",
        description = "a checkpoint, or a folder whose newest one is taken")
    private Path directory = Path.of("");

    @Mixin private CommonOptions common = new CommonOptions();

    @Override
    public Integer call() throws IOException {
      try (SavedCheckpoint checkpoint =
          SavedCheckpoint.open(LocalCheckpointStore.find(directory))) {
        checkpoint.verify();
        if (common.isJson) {
          ObjectNode json = new ObjectMapper().createObjectNode();
          json.put("directory", checkpoint.directory().toString()).put("intact", true);
          common.console().result(json.toString());
        } else {
          common.console().result(checkpoint.directory() + " is intact.");
        }
        return 0;
      }
    }
  }
}
