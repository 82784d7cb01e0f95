package dev.phalanx.trainer.tokenizer;

import ai.djl.engine.EngineException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.OptionalInt;

/**
 * Any tokenizer of the Hugging Face {@code tokenizers} library, from its {@code tokenizer.json}.
 *
 * <p>The library is native; DJL carries it and unpacks it to a folder of its own ({@code
 * ~/.djl.ai}, or the environment variable {@code DJL_CACHE_DIR}) on first use. It is told to stay
 * offline, to use the library that it carries, and to send no usage reports.
 *
 * <p>No special tokens are added around a text, and truncation and padding that the file asks for
 * are off. Special tokens that a text spells out are found, as this library always does.
 */
public final class HuggingFaceTokenizer implements Tokenizer {
  private static final Map<String, String> WHOLE_TEXTS =
      Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false");

  private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer tokenizer;
  private final TokenizerJson json;

  private HuggingFaceTokenizer(
      ai.djl.huggingface.tokenizers.HuggingFaceTokenizer tokenizer, TokenizerJson json) {
    this.tokenizer = tokenizer;
    this.json = json;
  }

  /**
   * Opens a {@code tokenizer.json}. The caller closes the tokenizer.
   *
   * @throws TokenizerException if the file is missing or bad, or the native library does not load
   */
  public static HuggingFaceTokenizer open(Path file) {
    byte[] content;
    try {
      content = Files.readAllBytes(file);
    } catch (IOException e) {
      throw new TokenizerException(
          "the tokenizer "
              + file
              + " cannot be read ("
              + e
              + "); write bytes, gpt2 or the path of a tokenizer.json",
          e);
    }
    TokenizerJson json = TokenizerJson.parse(file, content);
    return new HuggingFaceTokenizer(load(file, content), json);
  }

  private static ai.djl.huggingface.tokenizers.HuggingFaceTokenizer load(
      Path file, byte[] content) {
    stayOffline();
    try {
      return ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(content), WHOLE_TEXTS);
    } catch (EngineException | LinkageError e) {
      throw new TokenizerException(
          "the native tokenizers library, which "
              + file
              + " needs, does not load on "
              + System.getProperty("os.name")
              + " "
              + System.getProperty("os.arch")
              + " ("
              + rootOf(e)
              + "); make the folder that it is unpacked to writable (~/.djl.ai, or name another in"
              + " the environment variable DJL_CACHE_DIR), or use the tokenizer bytes or gpt2",
          e);
    } catch (IOException | RuntimeException e) {
      throw new TokenizerException(
          "the tokenizer "
              + file
              + " is refused by the Hugging Face tokenizers library: "
              + rootOf(e)
              + "; check that the file is complete",
          e);
    }
  }

  /**
   * DJL reads these when its classes are initialized, and only from the environment or from system
   * properties: where a GPU is present it would otherwise fetch another build of the native
   * library.
   */
  private static void stayOffline() {
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("RUST_FLAVOR", "cpu");
    System.setProperty("OPT_OUT_TRACKING", "true");
  }

  private static Throwable rootOf(Throwable failure) {
    Throwable root = failure;
    for (Throwable cause = failure.getCause(); cause != null; cause = cause.getCause()) {
      root = cause;
    }
    return root;
  }

  /** {@code tokenizer.json sha256:} and the first 16 digits of the file's digest. */
  @Override
  public String name() {
    return json.name();
  }

  @Override
  public int vocabularySize() {
    return json.vocabularySize();
  }

  @Override
  public OptionalInt endOfText() {
    return json.endOfText();
  }

  @Override
  public int[] encode(String text) {
    long[] ids = tokenizer.encode(text, false, false).getIds();
    int[] tokens = new int[ids.length];
    for (int i = 0; i < ids.length; i++) {
      tokens[i] = Math.toIntExact(ids[i]);
    }
    return tokens;
  }

  @Override
  public String decode(int... tokens) {
    StringBuilder text = new StringBuilder();
    int start = 0;
    for (int i = 0; i < tokens.length; i++) {
      if (tokens[i] < 0 || tokens[i] >= json.vocabularySize()) {
        appendDecoded(tokens, start, i, text);
        text.append('\uFFFD');
        start = i + 1;
      }
    }
    appendDecoded(tokens, start, tokens.length, text);
    return text.toString();
  }

  private void appendDecoded(int[] tokens, int start, int end, StringBuilder text) {
    if (start == end) {
      return;
    }
    long[] ids = new long[end - start];
    for (int i = start; i < end; i++) {
      ids[i - start] = tokens[i];
    }
    text.append(tokenizer.decode(ids, false));
  }

  @Override
  public void close() {
    tokenizer.close();
  }
}
