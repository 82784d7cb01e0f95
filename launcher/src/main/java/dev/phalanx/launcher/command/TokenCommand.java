package dev.phalanx.launcher.command;

import dev.phalanx.launcher.local.TokenFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code phalanx token}: makes the secret of a job whose ranks are started one by one. */
@Command(
    name = "token",
    description =
        "Makes a token for a job of --external ranks, in a file that only you can read. Give it to"
            + " every rank of one job; it is never shown.")
final class TokenCommand implements Callable<Integer> {
  @Parameters(paramLabel = "FILE", description = "the file to write; it must not be there yet")
  private Path file = Path.of("");

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  private boolean isHelp;

  @Override
  public Integer call() throws IOException {
    TokenFile.create(file);
    return 0;
  }
}
