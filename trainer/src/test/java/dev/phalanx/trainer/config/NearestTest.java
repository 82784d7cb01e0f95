package dev.phalanx.trainer.config;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.AlphaChars;
import net.jqwik.api.constraints.StringLength;
import org.junit.jupiter.api.Test;

class NearestTest {
  private static final List<String> KEYS = List.of("hidden", "heads", "kv_heads", "sequence", "lr");

  @Test
  void findsWhatWasMeant() {
    assertThat(Nearest.of("hiden", KEYS)).contains("hidden");
    assertThat(Nearest.of("kvHeads", KEYS)).contains("kv_heads");
    assertThat(Nearest.of("seq", KEYS)).contains("sequence");
    assertThat(Nearest.of("haeds", KEYS)).contains("heads");
    assertThat(Nearest.of("xx", KEYS)).isEmpty();
    assertThat(Nearest.of("colour", KEYS)).isEmpty();
  }

  @Property(tries = 200)
  void distanceIsSymmetricAndZeroForEqualWordsOnly(
      @ForAll @AlphaChars @StringLength(max = 8) String left,
      @ForAll @AlphaChars @StringLength(max = 8) String right) {
    assertThat(Nearest.distance(left, right)).isEqualTo(Nearest.distance(right, left));
    assertThat(Nearest.distance(left, right) == 0).isEqualTo(left.equals(right));
    assertThat(Nearest.distance(left, right))
        .isBetween(
            Math.abs(left.length() - right.length()), Math.max(left.length(), right.length()));
  }
}
