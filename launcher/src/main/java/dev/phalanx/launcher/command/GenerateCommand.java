package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.generate.GenerationModel;
import dev.phalanx.trainer.generate.Generator;
import dev.phalanx.trainer.generate.Sampling;
import dev.phalanx.trainer.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code phalanx generate}: lets a trained model go on with a text. */
@Command(name = "generate", description = "Writes text with a trained model.")
final class GenerateCommand implements Callable<Integer> {
  /** Where the weights are. */
  static final class Source {
    @Option(
        names = "--checkpoint",
        paramLabel = "DIR",
        required = true,
        description = "a checkpoint, or a folder whose newest one is taken")
    private @Nullable Path checkpoint;

    @Option(
        names = "--hf",
        paramLabel = "DIR",
        required = true,
        description = "a Hugging Face folder with config.json and safetensors")
    private @Nullable Path huggingFace;
  }

  /** What to go on from. */
  static final class Beginning {
    @Option(
        names = "--prompt",
        paramLabel = "TEXT",
        required = true,
        description = "the text to go on from")
    private @Nullable String prompt;

    @Option(
        names = "--tokens",
        paramLabel = "ID",
        split = ",",
        required = true,
        description = "the token ids to go on from: 1,2,3")
    private int @Nullable [] tokens;
  }

  @ArgGroup(multiplicity = "1")
  private Source source = new Source();

  @ArgGroup(multiplicity = "1")
  private Beginning beginning = new Beginning();

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "100",
      description = "how many tokens to write at most; default ${DEFAULT-VALUE}")
  private int maximumTokens;

  @Option(names = "--greedy", description = "always take the most likely token")
  private boolean isGreedy;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      defaultValue = "0.8",
      description = "how freely to choose: below 1 more likely tokens; default ${DEFAULT-VALUE}")
  private double temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      defaultValue = "40",
      description =
          "choose among so many of the most likely tokens; 0: all; default ${DEFAULT-VALUE}")
  private int topK;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "the same seed gives the same text; default ${DEFAULT-VALUE}")
  private long seed;

  @Option(
      names = "--logits",
      description = "with --json: add the logits that follow the given tokens")
  private boolean wantsLogits;

  @Mixin private CommonOptions common = new CommonOptions();

  @Override
  public Integer call() throws IOException {
    if (maximumTokens < 0) {
      throw CommandException.usage("--max-tokens is " + maximumTokens + "; write a number from 0");
    }
    Sampling sampling = sampling();
    int threads = Math.max(1, Runtime.getRuntime().availableProcessors());
    try (Engine engine = Engines.open("auto", new EngineOptions(threads));
        GenerationModel model = open(engine)) {
      int[] given = given(model);
      Generator generator = model.generator((long) given.length + maximumTokens);
      OptionalInt end = model.tokenizer().map(Tokenizer::endOfText).orElse(OptionalInt.empty());
      List<Integer> tokens = generator.generate(given, maximumTokens, sampling, end, token -> {});
      Optional<String> text = model.tokenizer().map(tokenizer -> added(tokenizer, given, tokens));
      if (common.isJson) {
        common.console().result(json(generator, given, tokens, text).toString());
      } else {
        common.console().result(readable(tokens, text));
      }
    }
    return 0;
  }

  /**
   * The text that an answer adds to what was given. Tokenizers may drop the space that a text
   * begins with, so an answer by itself says less than one that goes on.
   */
  static String added(Tokenizer tokenizer, int[] given, List<Integer> answer) {
    int[] tokens = answer.stream().mapToInt(token -> token).toArray();
    String before = tokenizer.decode(given);
    String all =
        tokenizer.decode(IntStream.concat(Arrays.stream(given), Arrays.stream(tokens)).toArray());
    return all.startsWith(before) // not where the prompt ends within a character
        ? all.substring(before.length())
        : tokenizer.decode(tokens);
  }

  private Sampling sampling() {
    try {
      return isGreedy ? Sampling.GREEDY : new Sampling(temperature, topK, seed);
    } catch (IllegalArgumentException e) {
      throw new CommandException(ExitStatus.USAGE, String.valueOf(e.getMessage()), e);
    }
  }

  private GenerationModel open(Engine engine) throws IOException {
    Path here = Path.of("").toAbsolutePath();
    if (source.checkpoint != null) {
      return GenerationModel.ofCheckpoint(source.checkpoint, here, engine);
    }
    if (source.huggingFace != null) {
      return GenerationModel.ofHuggingFace(source.huggingFace, engine);
    }
    throw CommandException.usage("name a model with --checkpoint DIR or --hf DIR");
  }

  private int[] given(GenerationModel model) {
    int[] tokens = beginning.tokens;
    if (tokens == null) {
      Tokenizer tokenizer =
          model
              .tokenizer()
              .orElseThrow(
                  () ->
                      CommandException.usage(
                          "the model's folder has no tokenizer.json, so it cannot read --prompt;"
                              + " write --tokens 1,2,3 instead"));
      tokens = tokenizer.encode(beginning.prompt == null ? "" : beginning.prompt);
    }
    if (tokens.length == 0) {
      throw CommandException.usage("the prompt is empty; a model needs something to go on from");
    }
    for (int token : tokens) {
      if (token < 0 || token >= model.config().vocabulary()) {
        throw CommandException.usage(
            "token "
                + token
                + " is not one of the model's, which run from 0 to "
                + (model.config().vocabulary() - 1));
      }
    }
    return tokens;
  }

  private ObjectNode json(
      Generator generator, int[] given, List<Integer> tokens, Optional<String> text) {
    ObjectNode json = new ObjectMapper().createObjectNode();
    ArrayNode ids = json.putArray("tokens");
    tokens.forEach(ids::add);
    json.put("text", text.orElse(null));
    if (wantsLogits) {
      ArrayNode logits = json.putArray("logits");
      for (float logit : generator.logits(given)) {
        logits.add(logit);
      }
    }
    return json;
  }

  private String readable(List<Integer> tokens, Optional<String> text) {
    String beginningText = beginning.prompt == null ? "" : beginning.prompt;
    return text.map(written -> beginningText + written).orElse(tokens.toString());
  }
}
