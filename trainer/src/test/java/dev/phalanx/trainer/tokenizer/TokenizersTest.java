package dev.phalanx.trainer.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizersTest {
  private final ByteTokenizer bytes = new ByteTokenizer();
  private final Gpt2Tokenizer gpt2 = new Gpt2Tokenizer();

  @Property(tries = 200)
  void bytesComeBackAsTheText(@ForAll String text) {
    String encodable = new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8);

    assertThat(bytes.decode(bytes.encode(encodable))).isEqualTo(encodable);
    int[] tokens = bytes.encode(encodable);
    assertThat(tokens).hasSize(encodable.getBytes(StandardCharsets.UTF_8).length);
    assertThat(Arrays.stream(tokens)).allMatch(token -> token >= 0 && token < 256);
  }

  @Property(tries = 200)
  void gpt2TokensComeBackAsTheText(@ForAll String text) {
    String encodable = new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8);

    assertThat(gpt2.decode(gpt2.encode(encodable))).isEqualTo(encodable);
  }

  @Example
  void gpt2EncodesAsOpenAiDoes() {
    assertThat(gpt2.encode("Hello world")).containsExactly(15496, 995);
    assertThat(gpt2.decode(50256)).isEqualTo("<|endoftext|>");
    assertThat(gpt2.vocabularySize()).isEqualTo(50257);
    assertThat(gpt2.endOfText()).hasValue(50256);
  }

  @Example
  void aSpecialTokenSpeltInATextIsText() {
    assertThat(gpt2.encode("a<|endoftext|>b")).doesNotContain(50256);
    assertThat(gpt2.decode(gpt2.encode("a<|endoftext|>b"))).isEqualTo("a<|endoftext|>b");
  }

  @Example
  void brokenCharactersAndUnknownIdsDecodeToTheReplacementCharacter() {
    assertThat(bytes.decode('a', 0xC3, 'b', 300, -1)).isEqualTo("a\uFFFDb\uFFFD\uFFFD");
    assertThat(gpt2.decode(15496, 60000, 995)).isEqualTo("Hello\uFFFD world");
  }

  @Example
  void bytesOfATextThatIsNotUtf8AreKept() throws IOException {
    byte[] text = {(byte) 0xFF, 0, (byte) 0x80};
    int[][] heard = new int[1][];

    bytes.encode(
        new ByteArrayInputStream(text), (tokens, count) -> heard[0] = Arrays.copyOf(tokens, count));

    assertThat(heard[0]).containsExactly(255, 0, 128);
  }

  @Test
  void namesOpenTheTokenizersAndPathsAreTakenFromTheBaseDirectory(@TempDir Path folder)
      throws IOException {
    Files.createDirectories(folder.resolve("model"));
    Files.writeString(folder.resolve("model/tokenizer.json"), TinyTokenizerJson.byteLevel());

    assertThat(Tokenizers.open("bytes", folder)).isInstanceOf(ByteTokenizer.class);
    assertThat(Tokenizers.open("gpt2", folder)).isInstanceOf(Gpt2Tokenizer.class);
    try (Tokenizer file = Tokenizers.open("model/tokenizer.json", folder);
        Tokenizer directory = Tokenizers.open("model", folder)) {
      assertThat(file).isInstanceOf(HuggingFaceTokenizer.class);
      assertThat(directory.name()).isEqualTo(file.name());
    }
    assertThatThrownBy(() -> Tokenizers.open("gpt-2", folder))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("gpt-2")
        .hasMessageContaining("write bytes, gpt2 or the path of a tokenizer.json");
  }

  @Example
  void everyByteIsAToken() {
    int[] all = IntStream.range(0, 128).toArray();

    assertThat(bytes.encode(bytes.decode(all))).isEqualTo(all);
  }
}
