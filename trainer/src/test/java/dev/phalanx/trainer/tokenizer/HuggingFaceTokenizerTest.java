package dev.phalanx.trainer.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HuggingFaceTokenizerTest {
  private final Path folder;
  private final Path file;

  HuggingFaceTokenizerTest(@TempDir Path folder) throws IOException {
    this.folder = folder;
    file = Files.writeString(folder.resolve("tokenizer.json"), TinyTokenizerJson.byteLevel());
  }

  @Test
  void wordsAreMergedAndComeBack() {
    try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.open(file)) {
      String text = "the whale — thé 鯨 in the sea";

      assertThat(tokenizer.encode("the then")).containsExactly(257, 258, 'n');
      assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
      assertThat(tokenizer.vocabularySize()).isEqualTo(260);
      assertThat(tokenizer.endOfText()).hasValue(TinyTokenizerJson.END_OF_TEXT);
      assertThat(tokenizer.decode(257, 1000, 258)).isEqualTo("the\uFFFD the");
      assertThat(tokenizer.encode("")).isEmpty();
      assertThat(tokenizer.decode()).isEmpty();
    }
  }

  @Test
  void truncationThatTheFileAsksForIsOff() {
    try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.open(file)) {
      assertThat(tokenizer.encode("x".repeat(5000))).hasSize(5000);
    }
  }

  @Test
  void aLongTextInPiecesEncodesAsAWhole() throws IOException {
    String text = "the whale\n\n  and the sea, ".repeat(40_000);
    try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.open(file)) {
      List<Integer> tokens = new ArrayList<>();
      tokenizer.encode(
          new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)),
          (piece, count) -> {
            for (int i = 0; i < count; i++) {
              tokens.add(piece[i]);
            }
          });

      assertThat(text.length()).isGreaterThan(3 * TextPieces.DEFAULT_CHARACTERS);
      assertThat(tokens.stream().mapToInt(Integer::intValue).toArray())
          .isEqualTo(tokenizer.encode(text));
    }
  }

  @Test
  void theNativeLibraryIsToldToStayOfflineAndSilent() {
    HuggingFaceTokenizer.open(file).close();

    assertThat(System.getProperty("ai.djl.offline")).isEqualTo("true");
    assertThat(System.getProperty("OPT_OUT_TRACKING")).isEqualTo("true");
    assertThat(ai.djl.util.Utils.isOfflineMode()).isTrue();
  }

  @Test
  void twoFilesHaveTwoNames() throws IOException {
    Path other =
        Files.writeString(
            folder.resolve("other.json"),
            TinyTokenizerJson.byteLevel().replace("\"<|endoftext|>\"", "\"</s>\""));
    try (HuggingFaceTokenizer first = HuggingFaceTokenizer.open(file);
        HuggingFaceTokenizer second = HuggingFaceTokenizer.open(other)) {
      assertThat(first.name()).startsWith("tokenizer.json sha256:").isNotEqualTo(second.name());
    }
  }

  @Test
  void aBadFileIsReportedWithItsPath() throws IOException {
    String json = TinyTokenizerJson.byteLevel();
    Path cut = Files.writeString(folder.resolve("cut.json"), json.substring(0, json.length() / 2));
    Path config = Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"gpt2\"}");
    Path unknown =
        Files.writeString(folder.resolve("x.json"), json.replace("\"BPE\"", "\"Magic\""));

    assertThatThrownBy(() -> HuggingFaceTokenizer.open(cut))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("cut.json is no JSON");
    assertThatThrownBy(() -> HuggingFaceTokenizer.open(config))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("config.json has no model.vocab");
    assertThatThrownBy(() -> HuggingFaceTokenizer.open(unknown))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("x.json is refused");
    assertThatThrownBy(() -> HuggingFaceTokenizer.open(folder.resolve("none.json")))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("none.json cannot be read");
  }
}
