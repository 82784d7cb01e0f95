package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.tokenizer.Tokenizer;
import dev.phalanx.trainer.tokenizer.Tokenizers;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code phalanx data}: work on training data. */
@Command(
    name = "data",
    description = "Prepares training data.",
    subcommands = DataCommand.Prepare.class)
final class DataCommand extends CommandGroup {
  DataCommand() {
    super("name what to do: phalanx data prepare");
  }

  /** {@code phalanx data prepare}. */
  @Command(
      name = "prepare",
      description = "Encodes text files once, so that training reads token ids from a mapped file.")
  static final class Prepare implements Callable<Integer> {
    @Parameters(
        paramLabel = "FILE",
        arity = "1..*",
        description = "text files, each a document, in this order")
    private List<Path> inputs = List.of();

    @Option(
        names = "--tokenizer",
        paramLabel = "NAME",
        defaultValue = "bytes",
        description = "bytes, gpt2 or a tokenizer.json; default ${DEFAULT-VALUE}")
    private String tokenizerName = "bytes";

    @Option(
        names = {"-o", "--output"},
        paramLabel = "FILE",
        required = true,
        description = "the token file to write")
    private Path output = Path.of("");

    @Option(
        names = "--end-of-text",
        description = "end each document with the tokenizer's end-of-text token")
    private boolean endOfText;

    @Mixin private CommonOptions common = new CommonOptions();

    @Override
    public Integer call() throws Exception {
      Console console = common.console();
      DataPreparation.Result result;
      try (Tokenizer tokenizer = Tokenizers.open(tokenizerName, Path.of("").toAbsolutePath());
          EncodingProgress progress =
              new EncodingProgress(console, common.isQuiet, System::nanoTime)) {
        result =
            DataPreparation.run(
                new DataPreparation.Request(inputs, tokenizer, output, endOfText), progress);
      }
      console.result(common.isJson ? json(result).toString() : text(result));
      return 0;
    }

    private static String text(DataPreparation.Result result) {
      return result.output()
          + ": "
          + result.tokens()
          + " tokens of "
          + result.documents()
          + (result.documents() == 1 ? " document" : " documents")
          + ", vocabulary "
          + result.vocabularySize();
    }

    private static ObjectNode json(DataPreparation.Result result) {
      ObjectNode json = new ObjectMapper().createObjectNode();
      json.put("output", result.output().toString())
          .put("documents", result.documents())
          .put("bytes", result.bytes())
          .put("tokens", result.tokens())
          .put("vocabulary", result.vocabularySize())
          .put("maximum_token", result.maximumToken())
          .put("seconds", result.seconds());
      return json;
    }
  }
}
