package dev.phalanx.launcher.command;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.trainer.tokenizer.Tokenizer;
import dev.phalanx.trainer.tokenizer.Tokenizers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class GenerateCommandTest {
  /** As Llama's: words begin with a space, which a decoded text does not. */
  private static final String WORDS =
      """
      {"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
       "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
       "post_processor": null,
       "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
       "model": {"type": "WordLevel", "unk_token": "?",
                 "vocab": {"?": 0, "▁once": 1, "▁upon": 2, "▁a": 3, "▁time": 4}}}
      """;

  @TempDir private Path folder = Path.of("");

  @Test
  void anAnswerBeginsWithTheSpaceThatPartsItFromThePrompt() throws Exception {
    Path file = Files.writeString(folder.resolve("tokenizer.json"), WORDS);
    try (Tokenizer tokenizer = Tokenizers.open(file.toString(), folder)) {
      int[] prompt = tokenizer.encode("once upon");
      assertThat(prompt).containsExactly(1, 2);
      assertThat(GenerateCommand.added(tokenizer, prompt, List.of(3, 4))).isEqualTo(" a time");
    }
  }

  @Test
  void anAnswerToHalfACharacterStandsByItself() throws Exception {
    try (Tokenizer bytes = Tokenizers.open("bytes", folder)) {
      assertThat(GenerateCommand.added(bytes, new int[] {0xC3}, List.of(0xA9, (int) 'a')))
          .isEqualTo("\uFFFDa");
      assertThat(GenerateCommand.added(bytes, new int[] {'a'}, List.of((int) 'b'))).isEqualTo("b");
    }
  }
}
