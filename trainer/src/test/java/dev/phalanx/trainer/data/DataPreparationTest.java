package dev.phalanx.trainer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.trainer.tokenizer.ByteTokenizer;
import dev.phalanx.trainer.tokenizer.Gpt2Tokenizer;
import dev.phalanx.trainer.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class DataPreparationTest {
  private static final String TEXT = "Call me Ishmael. Some years ago—never mind how long. ";

  private final Tokenizer gpt2 = new Gpt2Tokenizer();
  private final Path folder;
  private final Path text;
  private final Path output;

  DataPreparationTest(@TempDir Path folder) throws IOException {
    this.folder = folder;
    text = Files.writeString(folder.resolve("whale.txt"), TEXT.repeat(20_000));
    output = folder.resolve("out/whale.tokens");
  }

  @Test
  void aTextBecomesItsTokens() throws IOException {
    List<Long> heard = new ArrayList<>();
    DataPreparation.Result result =
        DataPreparation.run(
            new DataPreparation.Request(List.of(text), gpt2, output, false),
            (done, total, tokens) -> heard.add(done));

    int[] expected = gpt2.encode(Files.readString(text));
    try (TokenFile file = TokenFile.open(output)) {
      assertThat(tokens(file)).isEqualTo(toLongs(expected));
      assertThat(file.tokenizerName()).isEqualTo("gpt2");
      file.verify();
    }
    assertThat(result.tokens()).isEqualTo(expected.length);
    assertThat(result.bytes()).isEqualTo(Files.size(text));
    assertThat(result.vocabularySize()).isEqualTo(50257);
    assertThat(result.seconds()).isPositive();
    assertThat(heard).hasSizeGreaterThan(2).isSorted().last().isEqualTo(Files.size(text));
  }

  @Test
  void documentsFollowEachOtherWithAnEndOfTextTokenEach() throws IOException {
    Path first = Files.writeString(folder.resolve("1.txt"), "Hello");
    Path second = Files.writeString(folder.resolve("2.txt"), " world");
    DataPreparation.run(
        new DataPreparation.Request(List.of(first, second), gpt2, output, true),
        DataPreparation.Progress.NONE);

    try (TokenFile file = TokenFile.open(output)) {
      assertThat(tokens(file)).containsExactly(15496, 50256, 995, 50256);
      assertThat(file.documents()).isEqualTo(2);
      assertThat(file.hasEndOfText()).isTrue();
    }
  }

  @Test
  void whatCannotBeDoneIsSaidAndLeavesNothing() throws IOException {
    Path empty = Files.createFile(folder.resolve("empty.txt"));
    Path latin = Files.write(folder.resolve("latin.txt"), new byte[] {'a', (byte) 0xE9, 'b'});

    assertRefused(
        List.of(folder.resolve("none.txt")), gpt2, output, false, "none.txt does not exist");
    assertRefused(List.of(), gpt2, output, false, "no input");
    assertRefused(List.of(empty), gpt2, output, false, "hold no text");
    assertRefused(List.of(latin), gpt2, output, false, "latin.txt is not UTF-8: byte 1");
    assertRefused(List.of(text), new ByteTokenizer(), output, true, "no end-of-text token");
    assertRefused(List.of(latin), gpt2, text, false, "whale.txt exists and is no token file");
    assertRefused(List.of(text), gpt2, text.resolve("x.tokens"), false, "cannot be written");

    assertThat(Files.readString(text)).startsWith("Call me");
    if (Files.exists(output.getParent())) {
      try (Stream<Path> left = Files.list(output.getParent())) {
        assertThat(left).isEmpty();
      }
    }
  }

  @Test
  void anInterruptEndsTheWorkAndLeavesNothing() throws IOException {
    assertThatThrownBy(
            () ->
                DataPreparation.run(
                    new DataPreparation.Request(List.of(text), gpt2, output, false),
                    (done, total, tokens) -> Thread.currentThread().interrupt()))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("interrupt");
    assertThat(Thread.interrupted()).isTrue();
    try (Stream<Path> left = Files.list(output.getParent())) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void aTextOfBytesIsItsOwnTokenFile() throws IOException {
    Path cache = folder.resolve("cache");
    try (TokenSource source =
        TextData.open(text, new ByteTokenizer(), cache, DataPreparation.Progress.NONE)) {
      assertThat(tokens(source))
          .isEqualTo(toLongs(new ByteTokenizer().encode(Files.readString(text))));
    }
    assertThat(cache).doesNotExist();
  }

  @Test
  @Timeout(120)
  void ranksThatOpenATextAtOnceShareOneEncodedFile() throws Exception {
    int ranks = 4;
    Path cache = folder.resolve("cache");
    long[] expected = toLongs(gpt2.encode(Files.readString(text)));
    CyclicBarrier start = new CyclicBarrier(ranks);
    ExecutorService threads = Executors.newFixedThreadPool(ranks);
    try {
      List<Future<long[]>> read = new ArrayList<>();
      for (int i = 0; i < ranks; i++) {
        read.add(
            threads.submit(
                () -> {
                  start.await(60, TimeUnit.SECONDS);
                  try (TokenSource source =
                      TextData.open(text, gpt2, cache, DataPreparation.Progress.NONE)) {
                    return tokens(source);
                  }
                }));
      }
      for (Future<long[]> tokens : read) {
        assertThat(tokens.get(100, TimeUnit.SECONDS)).isEqualTo(expected);
      }
    } finally {
      threads.shutdownNow();
    }
    try (Stream<Path> files = Files.list(cache)) {
      assertThat(files.map(Path::toString).filter(name -> name.endsWith(".tokens"))).hasSize(1);
    }
  }

  @Test
  void aChangedTextAndADamagedCacheAreEncodedAnew() throws IOException {
    Path cache = folder.resolve("cache");
    TextData.open(text, gpt2, cache, DataPreparation.Progress.NONE).close();
    Path encoded;
    try (Stream<Path> files = Files.list(cache)) {
      encoded = files.filter(f -> f.toString().endsWith(".tokens")).findFirst().orElseThrow();
    }
    Files.writeString(encoded, "damaged");
    try (TokenSource source = TextData.open(text, gpt2, cache, DataPreparation.Progress.NONE)) {
      assertThat(source.count()).isEqualTo(gpt2.encode(Files.readString(text)).length);
    }
    Files.writeString(text, "Hello world");
    try (TokenSource source = TextData.open(text, gpt2, cache, DataPreparation.Progress.NONE)) {
      assertThat(tokens(source)).containsExactly(15496, 995);
    }
  }

  private static void assertRefused(
      List<Path> inputs, Tokenizer tokenizer, Path output, boolean endOfText, String message) {
    assertThatThrownBy(
            () ->
                DataPreparation.run(
                    new DataPreparation.Request(inputs, tokenizer, output, endOfText),
                    DataPreparation.Progress.NONE))
        .isInstanceOf(DataException.class)
        .hasMessageContaining(message);
  }

  private static long[] tokens(TokenSource source) {
    long[] tokens = new long[(int) source.count()];
    source.read(0, tokens.length, tokens, 0);
    return tokens;
  }

  private static long[] toLongs(int[] tokens) {
    return LongStream.range(0, tokens.length).map(i -> tokens[(int) i]).toArray();
  }
}
