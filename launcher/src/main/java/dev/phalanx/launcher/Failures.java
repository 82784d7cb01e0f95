package dev.phalanx.launcher;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointWriteException;
import dev.phalanx.checkpoint.FolderInUseException;
import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveMismatchException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.rendezvous.PortInUseException;
import dev.phalanx.collectives.rendezvous.RendezvousRefusedException;
import dev.phalanx.collectives.rendezvous.RendezvousTimeoutException;
import dev.phalanx.tensor.EngineNotFoundException;
import dev.phalanx.tensor.OutOfNativeMemoryException;
import dev.phalanx.trainer.ModelFamilyNotFoundException;
import dev.phalanx.trainer.NotFiniteException;
import dev.phalanx.trainer.PlanCheck;
import dev.phalanx.trainer.RankZeroWriteException;
import dev.phalanx.trainer.config.ConfigurationException;
import dev.phalanx.trainer.data.DataException;
import dev.phalanx.trainer.tokenizer.TokenizerException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.net.BindException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeoutException;

/**
 * From an exception to an exit status, a sentence, and who is to blame. The one place where this is
 * decided.
 */
public final class Failures {
  private static final int LONGEST_CAUSE_CHAIN = 32;

  private Failures() {}

  /** What a failure is. */
  public static Failure describe(Throwable thrown) {
    Throwable telling = telling(thrown);
    return new Failure(
        ownStatus(telling).orElse(ExitStatus.RANK_FAILED),
        blame(telling),
        sentence(telling),
        stackTrace(thrown));
  }

  /**
   * The exception of the chain that tells most: what ran out of memory, whoever reported it, or the
   * first one that has a status of its own.
   */
  private static Throwable telling(Throwable thrown) {
    List<Throwable> chain = new ArrayList<>();
    for (Throwable next = thrown;
        next != null && chain.size() < LONGEST_CAUSE_CHAIN;
        next = next.getCause()) {
      chain.add(next);
    }
    return chain.stream()
        .filter(Failures::isOutOfMemory)
        .findFirst()
        .or(() -> chain.stream().filter(next -> ownStatus(next).isPresent()).findFirst())
        .orElse(thrown);
  }

  private static boolean isOutOfMemory(Throwable thrown) {
    return thrown instanceof OutOfMemoryError || thrown instanceof OutOfNativeMemoryException;
  }

  private static Optional<ExitStatus> ownStatus(Throwable thrown) {
    if (thrown instanceof CommandException command) {
      return Optional.of(command.status());
    }
    if (thrown instanceof ConfigurationException
        || thrown instanceof EngineNotFoundException
        || thrown instanceof ModelFamilyNotFoundException
        || thrown instanceof PlanCheck.NotThisRunException) {
      return Optional.of(ExitStatus.USAGE);
    }
    if (thrown instanceof DataException data) {
      return Optional.of(
          data.kind() == DataException.Kind.PLAN ? ExitStatus.USAGE : ExitStatus.INPUT_OUTPUT);
    }
    if (thrown instanceof BadCheckpointException) {
      return Optional.of(ExitStatus.BAD_CHECKPOINT);
    }
    if (thrown instanceof NotFiniteException) {
      return Optional.of(ExitStatus.NOT_FINITE);
    }
    if (isOutOfMemory(thrown)) {
      return Optional.of(ExitStatus.OUT_OF_MEMORY);
    }
    if (thrown instanceof RendezvousRefusedException) {
      return Optional.of(ExitStatus.REFUSED);
    }
    if (thrown instanceof RendezvousTimeoutException) {
      return Optional.of(ExitStatus.DEADLINE);
    }
    if (thrown instanceof FolderInUseException) {
      return Optional.of(ExitStatus.BUSY);
    }
    if (thrown instanceof CheckpointWriteException || thrown instanceof RankZeroWriteException) {
      return Optional.of(ExitStatus.INPUT_OUTPUT);
    }
    if (thrown instanceof CollectiveMismatchException) {
      return Optional.of(ExitStatus.RANKS_DISAGREE);
    }
    if (thrown instanceof CollectiveTimeoutException || thrown instanceof TimeoutException) {
      return Optional.of(ExitStatus.DEADLINE);
    }
    if (thrown instanceof CollectiveException) {
      return Optional.of(ExitStatus.RANK_FAILED);
    }
    if (thrown instanceof BindException || thrown instanceof PortInUseException) {
      return Optional.of(ExitStatus.BUSY);
    }
    if (thrown instanceof UncheckedIOException && thrown.getCause() != null) {
      return ownStatus(thrown.getCause());
    }
    if (thrown instanceof IOException || thrown instanceof TokenizerException) {
      return Optional.of(ExitStatus.INPUT_OUTPUT);
    }
    return Optional.empty();
  }

  private static Failure.Blame blame(Throwable thrown) {
    if (thrown instanceof CollectiveMismatchException
        || thrown instanceof CollectiveTimeoutException) {
      return Failure.Blame.SHARED;
    }
    return thrown instanceof CollectiveException ? Failure.Blame.OTHERS : Failure.Blame.OWN;
  }

  private static String sentence(Throwable thrown) {
    if (thrown instanceof OutOfMemoryError error) {
      return outOfMemory(String.valueOf(error.getMessage()));
    }
    if (thrown instanceof UncheckedIOException && thrown.getCause() instanceof IOException cause) {
      return sentence(cause);
    }
    String message = thrown.getMessage();
    if (thrown instanceof NoSuchFileException) {
      return "there is no file " + message + ". Check the path.";
    }
    if (thrown instanceof AccessDeniedException) {
      return "access to " + message + " is denied. Check its permissions.";
    }
    if (thrown instanceof NotDirectoryException) {
      return message + " is a file, and a folder is wanted. Check the path.";
    }
    if (thrown instanceof FileSystemException && message != null) {
      return message + ". Check the path, its permissions and the free space.";
    }
    if (message == null || message.isBlank()) {
      return thrown.getClass().getSimpleName() + ". Run again with --verbose to see where.";
    }
    boolean isOurs = thrown.getClass().getName().startsWith("dev.phalanx.");
    return isOurs ? message : thrown.getClass().getSimpleName() + ": " + message;
  }

  private static String outOfMemory(String message) {
    if (message.contains("Physical memory") || message.contains("memory within limits")) {
      return "out of native memory ("
          + message
          + "). Lower batch.micro, or batch.global of a network that has none, model.sequence or"
          + " the model's size, or use more ranks.";
    }
    String lower = message.toLowerCase(Locale.ROOT);
    if (lower.contains("direct buffer") || lower.contains("direct memory")) {
      return "out of direct memory ("
          + message
          + "). Lower communication.bucket_mb, or raise -XX:MaxDirectMemorySize in"
          + " PHALANX_WORKER_JAVA_OPTIONS.";
    }
    if (message.contains("native thread")) {
      return "no more threads can be started ("
          + message
          + "). Start fewer workers, or raise the host's limit on processes.";
    }
    return "out of Java heap ("
        + message
        + "). Raise it, for example "
        + (isCommand() ? "JDK_JAVA_OPTIONS" : "PHALANX_WORKER_JAVA_OPTIONS")
        + "=-Xmx4g.";
  }

  /** Whether this process is the command itself and no worker. */
  private static boolean isCommand() {
    return System.getProperty("phalanx.command") != null;
  }

  private static String stackTrace(Throwable thrown) {
    StringWriter text = new StringWriter();
    thrown.printStackTrace(new PrintWriter(text));
    return text.toString();
  }
}
