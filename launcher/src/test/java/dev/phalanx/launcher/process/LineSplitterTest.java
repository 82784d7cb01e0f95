package dev.phalanx.launcher.process;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.launcher.event.EventCodec;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;

final class LineSplitterTest {
  private static final String SEPARATOR = String.valueOf(EventCodec.RECORD_SEPARATOR);

  private final List<String> text = new ArrayList<>();
  private final List<String> events = new ArrayList<>();

  private void split(byte[] bytes) {
    new LineSplitter(text::add, events::add).readAll(new ByteArrayInputStream(bytes));
  }

  private void split(String written) {
    split(written.getBytes(StandardCharsets.UTF_8));
  }

  @Provide
  Arbitrary<List<String>> lines() {
    return Arbitraries.strings()
        .withCharRange(' ', '~')
        .withChars('\t', 'é', '漢', '\u2028')
        .ofMaxLength(60)
        .list()
        .ofMaxSize(20);
  }

  @Property
  void linesComeOutAsTheyWereWrittenHoweverTheBytesArrive(
      @ForAll("lines") List<String> lines,
      @ForAll @IntRange(min = 1, max = 50) int chunk,
      @ForAll boolean hasReturns) {
    List<String> found = new ArrayList<>();
    LineSplitter splitter =
        new LineSplitter(found::add, event -> found.add("an event that nobody wrote: " + event));
    String end = hasReturns ? "\r\n" : "\n";
    byte[] bytes =
        lines.stream()
            .map(line -> line + end)
            .reduce("", String::concat)
            .getBytes(StandardCharsets.UTF_8);

    for (int start = 0; start < bytes.length; start += chunk) {
      int count = Math.min(chunk, bytes.length - start);
      byte[] piece = new byte[chunk];
      System.arraycopy(bytes, start, piece, 0, count);
      splitter.accept(piece, count);
    }
    splitter.finish();

    assertThat(found).isEqualTo(lines);
  }

  @Example
  void everyKindOfLineEndIsOne() {
    split("a\nb\r\nc\rd\n\ne");

    assertThat(text).containsExactly("a", "b", "c", "d", "", "e");
  }

  @Example
  void eventsAreToldApartFromTextAroundThem() {
    split("one\nhalf a line" + SEPARATOR + "{\"rank\":0}\ntwo\n" + SEPARATOR + "{}\n");

    assertThat(text).containsExactly("one", "half a line", "two");
    assertThat(events).containsExactly("{\"rank\":0}", "{}");
  }

  @Example
  void anEventInterruptedByAnotherIsPassedOnAsItIs() {
    split(SEPARATOR + "{\"ra" + SEPARATOR + "{}\n");

    assertThat(events).containsExactly("{\"ra", "{}");
    assertThat(text).isEmpty();
  }

  @Example
  void controlCharactersCannotSteerTheTerminal() {
    split("a\u001b[2Jb\u0007c\u007fd\u009be\tf\n");

    assertThat(text).containsExactly("a\ufffd[2Jb\ufffdc\ufffdd\ufffde\tf");
  }

  @Example
  void bytesThatAreNoTextAreReplaced() {
    split(new byte[] {'a', (byte) 0xff, 'b', (byte) 0xc3, '\n'});

    assertThat(text).containsExactly("a\ufffdb\ufffd");
  }

  @Example
  void aLineWithoutEndIsPassedOnInPiecesThatCutNoCharacter() {
    String character = "漢"; // three bytes, of which the longest line is no multiple
    split(character.repeat(LineSplitter.LONGEST_LINE_BYTES));

    assertThat(text).hasSizeGreaterThan(2);
    assertThat(String.join("", text)).isEqualTo(character.repeat(LineSplitter.LONGEST_LINE_BYTES));
    assertThat(text).allSatisfy(this::assertShort);
  }

  @Example
  void anEventThatIsTooLongIsText() {
    int length = LineSplitter.LONGEST_EVENT_BYTES + 100;
    split(SEPARATOR + "x".repeat(length) + "\nafter\n" + SEPARATOR + "{}\n");

    assertThat(events).containsExactly("{}");
    assertThat(String.join("", text)).isEqualTo("x".repeat(length) + "after");
    assertThat(text).allSatisfy(this::assertShort);
    assertThat(text.get(text.size() - 1)).isEqualTo("after");
  }

  private void assertShort(String line) {
    assertThat(line.getBytes(StandardCharsets.UTF_8).length)
        .isLessThanOrEqualTo(LineSplitter.LONGEST_LINE_BYTES + 3);
  }

  @Example
  void aStreamThatBreaksHasEnded() {
    InputStream broken =
        new InputStream() {
          private int position;

          @Override
          public int read() throws IOException {
            if (position == 3) {
              throw new IOException("Stream closed");
            }
            return "abc".charAt(position++);
          }
        };

    new LineSplitter(text::add, events::add).readAll(broken);

    assertThat(String.join("", text)).isEqualTo("abc");
  }
}
