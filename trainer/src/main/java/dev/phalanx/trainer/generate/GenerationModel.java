package dev.phalanx.trainer.generate;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.LocalCheckpointStore;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.parallelism.context.ContextGroup;
import dev.phalanx.sharding.ParameterSource;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.trainer.Devices;
import dev.phalanx.trainer.SavedModels;
import dev.phalanx.trainer.config.JobConfig.DeviceKind;
import dev.phalanx.trainer.model.HuggingFaceDirectory;
import dev.phalanx.trainer.model.Initialization;
import dev.phalanx.trainer.model.Transformer;
import dev.phalanx.trainer.model.TransformerConfig;
import dev.phalanx.trainer.tokenizer.Tokenizer;
import dev.phalanx.trainer.tokenizer.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A trained model in memory, fp32, with its tokenizer where one is known. Owns its memory, not the
 * engine.
 */
public final class GenerationModel implements AutoCloseable {
  private static final long GPT2_VOCABULARY = 50257;

  private final Arena arena;
  private final Arena host;
  private final Transformer model;
  private final Optional<Tokenizer> tokenizer;

  private GenerationModel(Arena arena, Transformer model, Optional<Tokenizer> tokenizer) {
    this.arena = arena;
    this.host = new Arena(arena.engine(), Device.CPU);
    this.model = model;
    this.tokenizer = tokenizer;
  }

  private interface Weights {
    void load(HuggingFaceDirectory.Target memory) throws IOException;
  }

  /** A value for each parameter, and no gradients. */
  private record Values(Arena arena, List<Parameter> parameters) {
    void load(ParameterSource source) throws IOException {
      for (Parameter parameter : parameters) {
        Tensor value = arena.allocate(DType.FLOAT32, parameter.shape());
        parameter.bind(
            new Parameter.Memory() {
              @Override
              public Tensor value() {
                return value;
              }

              @Override
              public Tensor gradient() {
                throw new IllegalStateException("A model that only generates has no gradients");
              }
            });
        source.read(parameter, 0, value);
      }
      arena.engine().synchronize(arena.device());
    }
  }

  /**
   * Loads a checkpoint.
   *
   * @param path a checkpoint, or a folder whose newest checkpoint is taken
   * @param baseDirectory what the plan's relative path of a tokenizer starts from
   * @throws BadCheckpointException where it is damaged
   * @throws IOException where there is none
   */
  public static GenerationModel ofCheckpoint(Path path, Path baseDirectory, Engine engine)
      throws IOException {
    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(LocalCheckpointStore.find(path))) {
      checkpoint.verify();
      CheckpointManifest manifest = checkpoint.manifest();
      TransformerConfig config = SavedModels.config(checkpoint);
      return load(
          config,
          engine,
          memory ->
              memory.load(
                  (parameter, first, rows) ->
                      checkpoint
                          .model()
                          .readRows(
                              parameter.name(),
                              parameter.partition().whole(),
                              first,
                              rows,
                              engine)),
          manifest
              .tokenizer()
              .filter(name -> !Tokenizers.isDigest(name))
              .map(name -> Tokenizers.open(name, baseDirectory)));
    }
  }

  /**
   * Loads a Hugging Face directory.
   *
   * @throws BadCheckpointException where it is damaged or of another family
   */
  public static GenerationModel ofHuggingFace(Path directory, Engine engine) throws IOException {
    HuggingFaceDirectory source = HuggingFaceDirectory.open(directory);
    Optional<Tokenizer> tokenizer = Optional.empty();
    if (Files.isRegularFile(directory.resolve("tokenizer.json"))) {
      tokenizer = Optional.of(Tokenizers.open(directory.toAbsolutePath().toString(), directory));
    } else if (source.config().vocabulary() == GPT2_VOCABULARY) {
      tokenizer = Optional.of(Tokenizers.open("gpt2", directory));
    }
    return load(source.config(), engine, memory -> source.load(memory, engine), tokenizer);
  }

  private static GenerationModel load(
      TransformerConfig config, Engine engine, Weights weights, Optional<Tokenizer> tokenizer)
      throws IOException {
    Arena arena = new Arena(engine, Devices.choose(engine, DeviceKind.AUTO, 0));
    try {
      Transformer model = new Transformer(config, new Initialization.Empty());
      weights.load(new Values(arena, model.parameters())::load);
      model.prepare(arena, ContextGroup.single());
      return new GenerationModel(arena, model, tokenizer);
    } catch (IOException | RuntimeException e) {
      arena.close();
      tokenizer.ifPresent(Tokenizer::close);
      throw e;
    }
  }

  public TransformerConfig config() {
    return model.config();
  }

  /** What the model's tokens stand for, where the checkpoint or directory tells. */
  public Optional<Tokenizer> tokenizer() {
    return tokenizer;
  }

  /**
   * A generator over this model; usable until the model is closed.
   *
   * @param most tokens of the longest text, prompt and answer together
   */
  public Generator generator(long most) {
    return new Generator(arena, host, model, DType.FLOAT32, most);
  }

  @Override
  public void close() {
    tokenizer.ifPresent(Tokenizer::close);
    arena.close();
    host.close();
  }
}
