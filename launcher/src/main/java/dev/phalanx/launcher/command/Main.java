package dev.phalanx.launcher.command;

import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.Failures;
import dev.phalanx.launcher.LibraryLogs;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Supplier;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/** The {@code phalanx} command. */
@Command(
    name = "phalanx",
    version = "phalanx 0.1.0",
    description = "Distributed training for the JVM.",
    subcommands = {
      TrainCommand.class,
      GenerateCommand.class,
      DataCommand.class,
      CheckpointCommand.class,
      PlanCommand.class,
      ScheduleCommand.class,
      BenchCommand.class,
      TokenCommand.class,
      DoctorCommand.class
    },
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {
      "0:done",
      "64:wrong usage or plan file",
      "70:a rank failed",
      "71:ranks disagree about a collective",
      "72:a deadline passed",
      "73:refused at rendezvous",
      "74:input or output failed",
      "75:a port or resource is busy",
      "76:bad checkpoint or weights file",
      "77:out of memory",
      "78:stopped on NaN",
      "79:launcher lost",
      "80:stopped on request, resumable",
      "130:interrupted"
    })
public final class Main implements Runnable {
  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  private boolean isHelp;

  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      description = "show the version")
  private boolean isVersion;

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  /** Called by picocli. */
  public Main() {
    this.spec = CommandLine.Model.CommandSpec.create();
  }

  @Override
  public void run() {
    throw new ParameterException(spec.commandLine(), "name a command");
  }

  public static void main(String[] arguments) {
    LibraryLogs.keepWarningsOnly();
    CommandStop stop = CommandStop.install(Thread.currentThread(), System.err);
    int code = execute(arguments, System.err, stop::tell);
    if (System.out.checkError() && code == ExitStatus.DONE.code()) { // flushes
      System.err.println("phalanx: the result could not be written to standard output");
      code = ExitStatus.INPUT_OUTPUT.code();
    }
    System.err.flush();
    // Threads of libraries may still run; all work of the command is done.
    Runtime.getRuntime().exit(code);
  }

  /**
   * Runs a command line and gives its exit status.
   *
   * @param asked tells the user and gives the status where a signal ends the command: its failures
   *     are those of the stop
   */
  static int execute(String[] arguments, PrintStream error, Supplier<Optional<ExitStatus>> asked) {
    boolean isVerbose =
        Arrays.stream(arguments).anyMatch(word -> word.equals("--verbose") || word.equals("-v"));
    CommandLine line = new CommandLine(new Main());
    line.setExecutionExceptionHandler(
        (exception, failed, parsed) ->
            asked.get().map(ExitStatus::code).orElseGet(() -> report(exception, isVerbose, error)));
    line.setParameterExceptionHandler((exception, given) -> wrongUsage(exception, error));
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setUsageHelpAutoWidth(true);
    line.setExpandAtFiles(false); // no file's content, a secret's say, is taken for arguments
    // What a text begins with is the user's affair.
    Objects.requireNonNull(line.getSubcommands().get("generate"))
        .setAllowOptionsAsOptionParameters(true);
    try {
      return line.execute(arguments);
    } catch (Error e) { // out of memory, a missing native library
      return report(e, isVerbose, error);
    }
  }

  private static int report(Throwable thrown, boolean isVerbose, PrintStream error) {
    Failure failure = Failures.describe(thrown);
    for (String sentence : failure.message().split("\n", -1)) {
      error.println("phalanx: " + sentence);
    }
    if (isVerbose) {
      error.print(failure.stackTrace());
    }
    return failure.status().code();
  }

  private static int wrongUsage(ParameterException exception, PrintStream error) {
    CommandLine command = exception.getCommandLine();
    error.println("phalanx: " + exception.getMessage());
    if (!UnmatchedArgumentException.printSuggestions(exception, error)) {
      error.println(
          "Try '" + command.getCommandSpec().qualifiedName(" ") + " --help' for what there is.");
    }
    return ExitStatus.USAGE.code();
  }
}
