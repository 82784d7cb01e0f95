package dev.phalanx.trainer.tokenizer;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Small files of the Hugging Face tokenizers library. */
final class TinyTokenizerJson {
  /** The id of {@code <|endoftext|>}. */
  static final int END_OF_TEXT = 259;

  private TinyTokenizerJson() {}

  /**
   * A byte-level byte-pair encoding: the 256 bytes, "th", "the", "Ġthe" and an end-of-text token;
   * it asks for truncation to four tokens.
   */
  static String byteLevel() {
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode root = mapper.createObjectNode();
    root.put("version", "1.0");
    root.putObject("truncation")
        .put("direction", "Right")
        .put("max_length", 4)
        .put("strategy", "LongestFirst")
        .put("stride", 0);
    root.putNull("padding");
    ArrayNode added = root.putArray("added_tokens");
    added
        .addObject()
        .put("id", END_OF_TEXT)
        .put("content", "<|endoftext|>")
        .put("single_word", false)
        .put("lstrip", false)
        .put("rstrip", false)
        .put("normalized", false)
        .put("special", true);
    root.putNull("normalizer");
    ObjectNode byteLevel = mapper.createObjectNode();
    byteLevel.put("type", "ByteLevel").put("add_prefix_space", false).put("trim_offsets", true);
    byteLevel.put("use_regex", true);
    root.set("pre_tokenizer", byteLevel);
    root.putNull("post_processor");
    root.set("decoder", byteLevel.deepCopy());
    ObjectNode model = root.putObject("model");
    model.put("type", "BPE");
    model.putNull("dropout").putNull("unk_token");
    ObjectNode vocabulary = model.putObject("vocab");
    int unprintable = 0;
    for (int b = 0; b < 256; b++) {
      boolean printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      vocabulary.put(String.valueOf((char) (printable ? b : 256 + unprintable++)), b);
    }
    vocabulary.put("th", 256).put("the", 257).put("Ġthe", 258);
    model.putArray("merges").add("t h").add("th e").add("Ġ the");
    return root.toString();
  }
}
