package dev.phalanx.launcher.command;

import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.ParsedPlan;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * Tries, before a job begins, the folders that its rank 0 will write to: hours later there would be
 * much to lose. It makes those that are not there, as the job would.
 */
final class OutputPlaces {
  private OutputPlaces() {}

  /**
   * @param baseDirectory what paths of the plan start from
   * @throws CommandException where nothing can be written, with the place in the plan
   */
  static void requireWritable(ParsedPlan plan, Path baseDirectory) {
    JobConfig config = plan.config();
    config
        .checkpoint()
        .ifPresent(
            checkpoint ->
                requireFolder(plan, "checkpoint.dir", baseDirectory.resolve(checkpoint.dir())));
    config
        .log()
        .report()
        .ifPresent(report -> requireFile(plan, "log.report", baseDirectory.resolve(report)));
    config
        .log()
        .tensorboard()
        .ifPresent(folder -> requireFolder(plan, "log.tensorboard", baseDirectory.resolve(folder)));
  }

  private static void requireFile(ParsedPlan plan, String key, Path file) {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null || Files.isDirectory(file)) {
      throw refusal(plan, key, file + " is a folder, and a file is to be written. Name a file.");
    }
    requireFolder(plan, key, folder);
  }

  private static void requireFolder(ParsedPlan plan, String key, Path folder) {
    try {
      Files.createDirectories(folder);
      Files.delete(Files.createTempFile(folder, "phalanx", ".trial"));
    } catch (IOException e) {
      throw refusal(
          plan,
          key,
          "nothing can be written in %s: %s. Name another folder, or mend this one."
              .formatted(folder, reason(e)));
    }
  }

  /** The messages of a {@link FileSystemException} may be no more than the file's name. */
  private static String reason(IOException e) {
    if (e instanceof AccessDeniedException) {
      return "access to " + e.getMessage() + " is denied";
    }
    if (e instanceof NoSuchFileException) {
      return e.getMessage() + " cannot be made";
    }
    if (e instanceof FileSystemException failure && failure.getReason() == null) {
      return failure.getMessage() + " is in the way";
    }
    return String.valueOf(e.getMessage());
  }

  private static CommandException refusal(ParsedPlan plan, String key, String message) {
    return new CommandException(
        ExitStatus.INPUT_OUTPUT, plan.positions().of(key) + ": " + key + ": " + message);
  }
}
