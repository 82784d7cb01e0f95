package dev.phalanx.trainer.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.OptionalInt;

/**
 * What Phalanx needs to know of a {@code tokenizer.json} and the native library does not say.
 *
 * @param name the tokenizer's identity: a digest of the file
 * @param vocabularySize one more than the largest id of the model and the added tokens
 * @param endOfText the id of the added token that ends a document
 */
record TokenizerJson(String name, int vocabularySize, OptionalInt endOfText) {
  /** The spellings in use, the clearest first. */
  private static final List<String> END_OF_TEXT =
      List.of("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>");

  static TokenizerJson parse(Path file, byte[] content) {
    JsonNode root;
    try {
      root = new ObjectMapper().readTree(content);
    } catch (IOException e) {
      throw new TokenizerException(
          "the tokenizer "
              + file
              + " is no JSON ("
              + firstLineOf(e)
              + "); give the tokenizer.json of a Hugging Face model",
          e);
    }
    JsonNode vocabulary = root.path("model").path("vocab");
    if (!vocabulary.isObject() && !vocabulary.isArray()) {
      throw new TokenizerException(
          "the tokenizer "
              + file
              + " has no model.vocab, so it is no tokenizer.json; give the tokenizer.json of a"
              + " Hugging Face model (tokenizer_config.json and vocab.json are other files)");
    }
    JsonNode added = root.path("added_tokens");
    long largest = vocabulary.isArray() ? vocabulary.size() - 1L : largestOf(vocabulary);
    for (JsonNode token : added) {
      largest = Math.max(largest, token.path("id").asLong(-1));
    }
    if (largest < 0 || largest >= Integer.MAX_VALUE) {
      throw new TokenizerException(
          "the tokenizer "
              + file
              + " has "
              + largest
              + " as its largest id, expected 0 to "
              + (Integer.MAX_VALUE - 1)
              + "; check that the file is complete");
    }
    return new TokenizerJson(
        Tokenizers.DIGEST_PREFIX + digest(content), (int) largest + 1, endOfText(added));
  }

  private static long largestOf(JsonNode vocabulary) {
    long largest = -1;
    for (JsonNode id : vocabulary) {
      largest = Math.max(largest, id.asLong(-1));
    }
    return largest;
  }

  private static OptionalInt endOfText(JsonNode added) {
    for (String spelling : END_OF_TEXT) {
      for (JsonNode token : added) {
        if (spelling.equals(token.path("content").asText())) {
          return OptionalInt.of(token.path("id").asInt());
        }
      }
    }
    return OptionalInt.empty();
  }

  private static String digest(byte[] content) {
    try {
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(content);
      return HexFormat.of().formatHex(digest, 0, 8);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("this Java has no SHA-256, which every Java must have", e);
    }
  }

  private static String firstLineOf(IOException e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }
}
