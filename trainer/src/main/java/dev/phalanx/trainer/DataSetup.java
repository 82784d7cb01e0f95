package dev.phalanx.trainer;

import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.DataException;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.data.TextData;
import dev.phalanx.trainer.data.TokenFile;
import dev.phalanx.trainer.data.TokenSource;
import dev.phalanx.trainer.data.TrainingData;
import dev.phalanx.trainer.tokenizer.Tokenizer;
import dev.phalanx.trainer.tokenizer.Tokenizers;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Opens what the plan's data section names; the tokens are cut into samples once the model's sizes
 * are known.
 */
final class DataSetup implements AutoCloseable {
  /** Where texts that were encoded with a tokenizer are kept, beside the job's other output. */
  private static final Path CACHE = Path.of("runs", ".token-cache");

  private final JobConfig.Data data;
  private final Optional<String> tokenizer;
  private @Nullable TokenSource source;

  private DataSetup(JobConfig.Data data, @Nullable TokenSource source) {
    this.data = data;
    this.source = source;
    this.tokenizer =
        data.tokenizerName()
            .or(
                () ->
                    source instanceof TokenFile file
                        ? Optional.of(file.tokenizerName())
                        : Optional.empty());
  }

  /**
   * @param encoding hears how far a text's encoding is, where this process has to do it
   * @throws dev.phalanx.trainer.data.DataException where a file is missing or damaged
   */
  static DataSetup open(
      JobConfig.Data data, Path baseDirectory, DataPreparation.Progress encoding) {
    return new DataSetup(data, source(data, baseDirectory, encoding));
  }

  private static @Nullable TokenSource source(
      JobConfig.Data data, Path baseDirectory, DataPreparation.Progress encoding) {
    if (data instanceof JobConfig.Data.Text text) {
      try (Tokenizer tokenizer = Tokenizers.open(text.tokenizer(), baseDirectory)) {
        return TextData.open(
            baseDirectory.resolve(text.path()), tokenizer, baseDirectory.resolve(CACHE), encoding);
      }
    }
    if (data instanceof JobConfig.Data.Tokens tokens) {
      TokenFile file = TokenFile.open(baseDirectory.resolve(tokens.path()));
      try {
        requireTokenizer(file, tokens, baseDirectory);
        return file;
      } catch (RuntimeException e) {
        file.close();
        throw e;
      }
    }
    return null; // made by a formula
  }

  /** Where the plan names a tokenizer, the file must have been made with it. */
  private static void requireTokenizer(
      TokenFile file, JobConfig.Data.Tokens tokens, Path baseDirectory) {
    if (tokens.tokenizerName().isEmpty()) {
      return;
    }
    try (Tokenizer planned = Tokenizers.open(tokens.tokenizerName().get(), baseDirectory)) {
      if (!planned.name().equals(file.tokenizerName())) {
        throw DataException.plan(
            "data.tokenizer",
            file.name()
                + " was made with the tokenizer "
                + file.tokenizerName()
                + ", but data.tokenizer is "
                + planned.name()
                + "; leave data.tokenizer out, or prepare the file anew with it");
      }
    }
  }

  /** The smallest vocabulary that the tokens' encoding needs; 0 where data fits any. */
  long vocabulary() {
    return source == null ? 0 : source.vocabularySize();
  }

  /**
   * The tokenizer that text must be encoded with to fit the data, as the plan or the token file
   * names it.
   */
  Optional<String> tokenizer() {
    return tokenizer;
  }

  /** Cuts the tokens into samples; the result owns the source. */
  TrainingData samples(long sequence, long vocabulary, double heldOutFraction) {
    int length = Math.toIntExact(sequence);
    TokenSource tokens = source;
    if (tokens == null) {
      return TrainingData.reference(data.seed(), vocabulary, length);
    }
    source = null;
    return TrainingData.of(tokens, length, vocabulary, heldOutFraction, data.seed());
  }

  @Override
  public void close() {
    if (source != null) {
      source.close();
    }
  }
}
