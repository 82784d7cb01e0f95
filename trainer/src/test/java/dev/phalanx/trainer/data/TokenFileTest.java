package dev.phalanx.trainer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenFileTest {
  private final Path folder;

  TokenFileTest(@TempDir Path folder) {
    this.folder = folder;
  }

  @ParameterizedTest
  @CsvSource({"1,1", "256,1", "257,2", "65536,2", "65537,4", "2147483647,4"})
  void tokensComeBackInTheNarrowestWidth(int vocabulary, int expectedBytes) throws IOException {
    Random random = new Random(vocabulary);
    int[] tokens = random.ints(100_003, 0, vocabulary).toArray();
    tokens[77] = vocabulary - 1;
    Path file = write("x.tokens", vocabulary, tokens);

    for (long segmentBytes : new long[] {64, 4096, MappedTokens.DEFAULT_SEGMENT_BYTES}) {
      try (TokenFile opened = TokenFile.open(file, segmentBytes)) {
        assertThat(opened.count()).isEqualTo(tokens.length);
        assertThat(opened.bytesPerToken()).isEqualTo(expectedBytes);
        assertThat(opened.maximumToken()).isEqualTo(vocabulary - 1);
        assertThat(opened.vocabularySize()).isEqualTo(vocabulary);
        assertThat(opened.tokenizerName()).isEqualTo("test");
        for (int i = 0; i < 200; i++) {
          int start = random.nextInt(tokens.length);
          int length = random.nextInt(Math.min(300, tokens.length - start) + 1);
          long[] out = new long[length + 2];
          opened.read(start, length, out, 1);
          for (int t = 0; t < length; t++) {
            assertThat(out[t + 1]).isEqualTo(tokens[start + t]);
          }
          assertThat(out[0] | out[length + 1]).isZero();
        }
        opened.verify();
      }
    }
  }

  @Test
  void moreThanTwoToTheThirtyOneTokensAreReached() throws IOException {
    long count = (1L << 31) + 1000;
    Path file = folder.resolve("large.tokens");
    TokenFileHeader header =
        new TokenFileHeader(
            TokenWidth.U8, false, count, 1, 256, 9, 0, new byte[TokenFileHeader.DIGEST_BYTES], "");
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(header.length() + count);
      sparse.write(header.encode().array());
      sparse.seek(header.length() + count - 2);
      sparse.write(9);
    }

    try (TokenFile opened = TokenFile.open(file)) {
      long[] out = new long[4];
      opened.read(count - 4, 4, out, 0);
      assertThat(out).containsExactly(0, 0, 9, 0);
      opened.read((1L << 30) - 2, 4, out, 0);
      assertThat(out).containsExactly(0, 0, 0, 0);
    }
  }

  @Test
  void readsOutsideOfTheFileAndAfterCloseAreRefused() throws IOException {
    TokenFile opened = TokenFile.open(write("x.tokens", 256, 1, 2, 3));

    assertThatThrownBy(() -> opened.read(2, 2, new long[2], 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> opened.read(0, 2, new long[2], 1))
        .isInstanceOf(IndexOutOfBoundsException.class);
    opened.close();
    opened.close();
    assertThatThrownBy(() -> opened.read(0, 1, new long[1], 0))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("x.tokens is closed");
  }

  @Test
  @Timeout(60)
  void closingWhileThreadsReadEndsThemWithAnException() throws Exception {
    int[] tokens = new int[1 << 20];
    TokenFile opened = TokenFile.open(write("x.tokens", 70_000, tokens));
    ExecutorService readers = Executors.newFixedThreadPool(3);
    try {
      List<Future<Boolean>> ended = new ArrayList<>();
      CountDownLatch reading = new CountDownLatch(3);
      Callable<Boolean> read =
          () -> {
            long[] out = new long[257];
            for (long round = 0; ; round++) {
              try {
                opened.read(round * 257 % 1_000_000, 257, out, 0);
              } catch (IllegalStateException e) {
                return true;
              }
              reading.countDown();
            }
          };
      for (int i = 0; i < 3; i++) {
        ended.add(readers.submit(read));
      }
      reading.await();
      opened.close();
      for (Future<Boolean> reader : ended) {
        assertThat(reader.get(30, TimeUnit.SECONDS)).isTrue();
      }
    } finally {
      readers.shutdownNow();
    }
  }

  @Test
  void everyChangedByteOfTheHeaderIsNoticed() throws IOException {
    Path file = write("x.tokens", 256, 1, 2, 3);
    byte[] whole = Files.readAllBytes(file);
    for (int i = 0; i < TokenFileHeader.lengthFor("test"); i++) {
      byte[] changed = whole.clone();
      changed[i] ^= 0x41;
      Files.write(file, changed);

      assertThatThrownBy(() -> TokenFile.open(file))
          .as("byte %d", i)
          .isInstanceOfSatisfying(
              DataException.class,
              e -> assertThat(e.kind()).isEqualTo(DataException.Kind.INPUT_OUTPUT))
          .hasMessageContaining("x.tokens");
    }
  }

  @Test
  void everyTruncationAndEveryTailIsNoticed() throws IOException {
    Path file = write("x.tokens", 300, 1, 2, 3);
    byte[] whole = Files.readAllBytes(file);
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> TokenFile.open(file))
          .as("%d bytes", length)
          .isInstanceOf(DataException.class);
    }
    Files.write(file, Arrays.copyOf(whole, whole.length + 1));
    assertThatThrownBy(() -> TokenFile.open(file))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("199 bytes")
        .hasMessageContaining("198 bytes in all");
  }

  @Test
  void aChangedTokenIsFoundByVerifyAndOneOutsideOfTheModelByReading() throws IOException {
    Path file = write("x.tokens", 300, 1, 2, 3, 4);
    overwrite(file, TokenFileHeader.lengthFor("test") + 2, new byte[] {(byte) 0xFF, 0x7F});

    try (TokenFile opened = TokenFile.open(file)) {
      assertThatThrownBy(opened::verify)
          .isInstanceOf(DataException.class)
          .hasMessageContaining("damaged");
    }
    try (TrainingData data = TrainingData.of(TokenFile.open(file), 3, 300, 0, 1)) {
      assertThatThrownBy(() -> data.training().fill(0, 1, new long[3], new long[3]))
          .isInstanceOf(DataException.class)
          .hasMessageContaining("token 32767 at position 1");
    }
  }

  @Test
  void filesThatAreNoTokenFilesAreNamed() throws IOException {
    Path text = Files.writeString(folder.resolve("whale.txt"), "Call me Ishmael.");

    assertThatThrownBy(() -> TokenFile.open(text))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("whale.txt is no token file")
        .hasMessageContaining("data.kind: text");
    assertThatThrownBy(() -> TokenFile.open(folder.resolve("none.tokens")))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("none.tokens does not exist");
    assertThatThrownBy(() -> TokenFile.open(folder))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("is no file");
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void anUnpublishedFileLeavesNothingBehind(boolean overOlder) throws IOException {
    Path file = folder.resolve("x.tokens");
    if (overOlder) {
      write("x.tokens", 256, 7);
    }
    try (TokenFileWriter writer = new TokenFileWriter(file, "test", 256)) {
      writer.accept(new int[] {1, 2}, 2);
      assertThatThrownBy(() -> writer.accept(new int[] {256}, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("token 2 is 256");
    }

    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left).hasSize(overOlder ? 1 : 0);
    }
    if (overOlder) {
      try (TokenFile older = TokenFile.open(file)) {
        assertThat(older.count()).isEqualTo(1);
      }
    }
  }

  private Path write(String name, long vocabulary, int... tokens) throws IOException {
    Path file = folder.resolve(name);
    try (TokenFileWriter writer = new TokenFileWriter(file, "test", vocabulary)) {
      writer.accept(tokens, tokens.length);
      writer.publish();
    }
    return file;
  }

  private static void overwrite(Path file, long position, byte[] bytes) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(bytes), position);
    }
  }
}
