package dev.phalanx.trainer.data;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;

class ReferenceBatchSourceTest {
  private static final int BATCH = 8;
  private static final int SEQUENCE = 32;
  private final ReferenceBatchSource source = new ReferenceBatchSource(20240602L, 256, SEQUENCE);

  @Test
  void theBatchesAreTheReferenceOnes() throws IOException {
    JsonNode reference;
    try (InputStream in =
        Objects.requireNonNull(getClass().getResourceAsStream("/reference.json"))) {
      reference = new ObjectMapper().readTree(in);
    }
    for (int step : new int[] {0, 49}) {
      JsonNode expected = reference.get("batch" + step);
      long[] inputs = new long[BATCH * SEQUENCE];
      long[] targets = new long[BATCH * SEQUENCE];
      source.fill((long) step * BATCH, BATCH, inputs, targets);

      int compared = 0;
      for (int b = 0; b < BATCH; b++) {
        compared += compare(expected.path("input_seq" + b), inputs, b);
        compared += compare(expected.path("target_seq" + b), targets, b);
      }
      assertThat(compared).isPositive();
    }
  }

  private static int compare(JsonNode expected, long[] tokens, int sample) {
    if (expected.isMissingNode()) {
      return 0;
    }
    List<Long> values = new ArrayList<>();
    expected.forEach(value -> values.add(value.asLong()));
    assertThat(Arrays.copyOfRange(tokens, sample * SEQUENCE, (sample + 1) * SEQUENCE))
        .containsExactly(values.toArray(Long[]::new));
    return 1;
  }

  @Property(tries = 100)
  void otherSizesFollowTheSameRule(
      @ForAll long seed,
      @ForAll @LongRange(min = 1, max = 100_000) long vocabulary,
      @ForAll @IntRange(min = 1, max = 64) int sequence,
      @ForAll @LongRange(min = 0, max = 1L << 50) long sample) {
    ReferenceBatchSource data = new ReferenceBatchSource(seed, vocabulary, sequence);
    long[] inputs = new long[2 * sequence];
    long[] targets = new long[2 * sequence];
    data.fill(sample, 2, inputs, targets);
    long[] second = new long[sequence];
    data.fill(sample + 1, 1, second, new long[sequence]);

    assertThat(Arrays.copyOfRange(inputs, sequence, 2 * sequence)).isEqualTo(second);
    assertThat(Arrays.stream(inputs)).allMatch(token -> token >= 0 && token < vocabulary);
    assertThat(Arrays.stream(targets)).allMatch(token -> token >= 0 && token < vocabulary);
    for (int t = 0; t + 1 < sequence; t++) {
      assertThat(targets[t]).isEqualTo(inputs[t + 1]);
    }
  }
}
