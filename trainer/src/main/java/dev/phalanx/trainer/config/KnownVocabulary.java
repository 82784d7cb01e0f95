package dev.phalanx.trainer.config;

/** Sizes of the vocabularies that are known by name. */
final class KnownVocabulary {
  private KnownVocabulary() {}

  /** Token ids of a tokenizer, or 0 for one that is a file. */
  static long sizeOf(String tokenizer) {
    return switch (tokenizer) {
      case "bytes" -> 256;
      case "gpt2" -> 50257;
      default -> 0;
    };
  }
}
