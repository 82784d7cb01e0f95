package dev.phalanx.launcher.command;

import picocli.CommandLine;
import picocli.CommandLine.Option;

/** A command that only holds others: alone it is wrong usage. */
abstract class CommandGroup implements Runnable {
  private final String whatToWrite;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  private boolean isHelp;

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

  /**
   * @param whatToWrite what the user is told to do
   */
  CommandGroup(String whatToWrite) {
    this.whatToWrite = whatToWrite;
  }

  @Override
  public final void run() {
    throw new CommandLine.ParameterException(spec.commandLine(), whatToWrite);
  }
}
