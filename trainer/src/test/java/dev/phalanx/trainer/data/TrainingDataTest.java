package dev.phalanx.trainer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.stream.LongStream;
import net.jqwik.api.Assume;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainingDataTest {
  @Property(tries = 300)
  void trainingAndHeldOutTokensNeverOverlap(
      @ForAll @IntRange(min = 4, max = 3000) int count,
      @ForAll @IntRange(min = 1, max = 64) int sequence,
      @ForAll @DoubleRange(min = 0.01, max = 0.9) double fraction) {
    Assume.that(count >= 2 * (sequence + 1));
    try (TrainingData data = positions(count, sequence, fraction)) {
      BitSet trained = tokensOf(data.training());
      BitSet heldOut = tokensOf(data.heldOut().orElseThrow());

      assertThat(trained.intersects(heldOut)).isFalse();
      assertThat(trained.nextClearBit(0)).isEqualTo(heldOut.nextSetBit(0));
      assertThat(heldOut.cardinality()).isGreaterThan(sequence);
      assertThat(count - heldOut.length()).as("tokens left over").isBetween(0, sequence - 1);
    }
  }

  @Property(tries = 200)
  void targetsAreTheNextTokensAndEachTokenIsPredictedOnce(
      @ForAll @IntRange(min = 2, max = 3000) int count,
      @ForAll @IntRange(min = 1, max = 64) int sequence) {
    Assume.that(count > sequence);
    try (TrainingData data = positions(count, sequence, 0)) {
      BatchSource training = data.training();
      int samples = (int) training.samplesPerEpoch();
      long[] inputs = new long[samples * sequence];
      long[] targets = new long[samples * sequence];
      training.fill(0, samples, inputs, targets);

      assertThat(samples).isEqualTo((count - 1) / sequence);
      assertThat(data.heldOut()).isEmpty();
      for (int i = 0; i < inputs.length; i++) {
        assertThat(targets[i]).isEqualTo(inputs[i] + 1);
      }
      assertThat(Arrays.stream(targets).sorted())
          .containsExactlyElementsOf(
              LongStream.rangeClosed(1, (long) samples * sequence).boxed().toList());
    }
  }

  @Example
  void aTokenThatTheModelDoesNotKnowIsNamedWithItsPosition() {
    InMemoryTokens tokens = new InMemoryTokens("data/x.tokens", 512, 1, 2, 300, 4, 5);

    assertThatThrownBy(() -> TrainingData.of(tokens, 2, 256, 0, 1))
        .isInstanceOfSatisfying(
            DataException.class, e -> assertThat(e.kind()).isEqualTo(DataException.Kind.PLAN))
        .hasMessageContaining(
            "data/x.tokens holds token 300 at position 2 but model.vocab is 256; write model.vocab:"
                + " 512 or more");
    assertThatThrownBy(() -> tokens.read(0, 1, new long[1], 0))
        .as("closed on failure")
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aByteTextNeedsRoomOnlyForTheBytesThatOccur(@TempDir Path folder) throws IOException {
    Path text = Files.writeString(folder.resolve("whale.txt"), "Call me Ishmaël.");

    assertThatThrownBy(() -> TrainingData.of(ByteText.open(text), 4, 128, 0, 1))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("token 195 at position 13 but model.vocab is 128")
        .hasMessageContaining("256 or more");
    Files.writeString(text, "Call me Ishmael.");
    TrainingData.of(ByteText.open(text), 4, 128, 0, 1).close();
  }

  @Example
  void aTextShorterThanASampleIsRefusedWithTheNumbers() {
    assertThatThrownBy(() -> positions(10, 10, 0))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("positions holds 10 tokens")
        .hasMessageContaining("model.sequence 10 needs 11");
    assertThatThrownBy(() -> positions(11, 10, 0.1))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("needs 22");
  }

  @Example
  void arraysThatAreTooShortAndSamplesThatDoNotExistAreRefused() {
    try (TrainingData data = positions(1000, 10, 0.1)) {
      BatchSource heldOut = data.heldOut().orElseThrow();

      assertThatThrownBy(() -> data.training().fill(0, 2, new long[20], new long[19]))
          .isInstanceOf(IndexOutOfBoundsException.class)
          .hasMessageContaining("2 samples of 10 tokens");
      assertThatThrownBy(
              () -> heldOut.fill(heldOut.samplesPerEpoch(), 1, new long[10], new long[10]))
          .isInstanceOf(IndexOutOfBoundsException.class);
    }
  }

  @Test
  void fillingABatchTakesNoTimeToSpeakOf(@TempDir Path folder) throws IOException {
    byte[] bytes = new byte[1 << 20];
    Path text = Files.write(folder.resolve("zeros.txt"), bytes);
    try (TrainingData data = TrainingData.of(ByteText.open(text), 256, 256, 0.1, 1)) {
      long[] inputs = new long[8 * 256];
      long[] targets = new long[8 * 256];
      long[] nanos = new long[3000];
      for (int i = 0; i < nanos.length; i++) {
        long start = System.nanoTime();
        data.training().fill(i * 8L, 8, inputs, targets);
        nanos[i] = System.nanoTime() - start;
      }
      Arrays.sort(nanos);

      assertThat(nanos[nanos.length / 2]).as("median, ns").isLessThan(200_000);
    }
  }

  /** Tokens that are their own positions. */
  private static TrainingData positions(int count, int sequence, double fraction) {
    return TrainingData.of(
        new InMemoryTokens("positions", count, LongStream.range(0, count).toArray()),
        sequence,
        count,
        fraction,
        42);
  }

  private static BitSet tokensOf(BatchSource source) {
    int sequence = source.sequence();
    BitSet tokens = new BitSet();
    long[] inputs = new long[sequence];
    long[] targets = new long[sequence];
    for (long k = 0; k < source.samplesPerEpoch(); k++) {
      source.fill(k, 1, inputs, targets);
      Arrays.stream(inputs).forEach(token -> tokens.set((int) token));
      Arrays.stream(targets).forEach(token -> tokens.set((int) token));
    }
    return tokens;
  }
}
