package dev.phalanx.trainer.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class TextPiecesTest {
  private final Gpt2Tokenizer gpt2 = new Gpt2Tokenizer();

  @Property(tries = 300)
  void piecesPutTogetherAreTheText(
      @ForAll("texts") String text, @ForAll @IntRange(min = 2, max = 40) int pieceCharacters)
      throws IOException {
    List<String> pieces = pieces(text, pieceCharacters);

    assertThat(String.join("", pieces)).isEqualTo(text);
    assertThat(pieces).allMatch(piece -> !piece.isEmpty() && piece.length() <= pieceCharacters);
  }

  @Property(tries = 300)
  void piecesThatEndBetweenWordsEncodeAsTheWholeTextDoes(
      @ForAll("prose") String text, @ForAll @IntRange(min = 48, max = 90) int pieceCharacters)
      throws IOException {
    List<Integer> tokens = new ArrayList<>();
    for (String piece : pieces(text, pieceCharacters)) {
      for (int token : gpt2.encode(piece)) {
        tokens.add(token);
      }
    }

    assertThat(tokens.stream().mapToInt(Integer::intValue).toArray()).isEqualTo(gpt2.encode(text));
  }

  @Test
  void aByteThatIsNotUtf8IsReportedWithItsPosition() {
    byte[] text = "Möby ?".getBytes(StandardCharsets.UTF_8);
    text[6] = (byte) 0xC3;

    assertThatThrownBy(() -> new TextPieces(3).forEach(new ByteArrayInputStream(text), piece -> {}))
        .isInstanceOfSatisfying(
            MalformedTextException.class, e -> assertThat(e.bytePosition()).isEqualTo(6))
        .hasMessageContaining("byte 6")
        .hasMessageContaining("bytes");
  }

  private static List<String> pieces(String text, int pieceCharacters) throws IOException {
    List<String> pieces = new ArrayList<>();
    InputStream oneByteAtATime = new TrickleInputStream(text.getBytes(StandardCharsets.UTF_8));
    new TextPieces(pieceCharacters).forEach(oneByteAtATime, pieces::add);
    return pieces;
  }

  @Provide
  Arbitrary<String> texts() {
    return Arbitraries.of("a", "Zoë", " ", "  ", "\n", "鯨", "🐋", "1851", "'s", "—")
        .list()
        .ofMaxSize(60)
        .map(parts -> String.join("", parts));
  }

  /** Words with all kinds of white space between them, and a plain place to cut every so often. */
  @Provide
  Arbitrary<String> prose() {
    Arbitrary<String> words =
        Arbitraries.of("Call", "me", "Ishmael", "whale's", "42", "déjà", "…!?", "鯨");
    Arbitrary<String> gaps = Arbitraries.of(" ", "  ", "\n", " \n", "\n\n ", "\t", ", ", "\u00A0 ");
    return Combinators.combine(words, gaps)
        .as((word, gap) -> word + gap + "the sea ")
        .list()
        .ofMaxSize(30)
        .map(parts -> String.join("", parts));
  }

  /** Returns few bytes a call, as pipes may. */
  private static final class TrickleInputStream extends ByteArrayInputStream {
    TrickleInputStream(byte[] bytes) {
      super(bytes);
    }

    @Override
    public synchronized int read(byte[] bytes, int offset, int length) {
      return super.read(bytes, offset, Math.min(length, 3));
    }
  }
}
