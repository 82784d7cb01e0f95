package dev.phalanx.engine.host;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is read of a processor. */
class CpuFeaturesTest {
  @TempDir private Path folder = Path.of("");

  @Test
  void flagsAreThoseOfTheFirstProcessor() throws IOException {
    Path file =
        Files.writeString(
            folder.resolve("cpuinfo"),
            "processor\t: 0\nmodel name\t: flags \u00ae\nflags\t\t: fpu sse2 avx2\nbugs\t\t: \n"
                + "\nprocessor\t: 1\nflags\t\t: fpu amx_bf16\n",
            StandardCharsets.ISO_8859_1); // no UTF-8, and no reason to fail
    CpuFeatures found = CpuFeatures.read(file);
    assertThat(found.flags()).containsExactlyInAnyOrder("fpu", "sse2", "avx2");
  }

  @Test
  void aSystemThatTellsNothingHasNone() {
    assertThat(CpuFeatures.read(folder.resolve("missing")).flags()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "sse2 avx avx2 fma, false",
    "sse2 avx avx2 fma avx512f avx512vl avx512bw avx512dq avx512cd, true",
    "avx512f avx512cd avx512er avx512pf, false", // Xeon Phi: another AVX-512
    "avx512fp16 avx512vl avx512bw avx512dq avx512cd, false"
  })
  void avx512NeedsAllOfItsInstructions(String flags, boolean hasIt) {
    assertThat(new CpuFeatures(Set.of(flags.split(" "))).hasAvx512()).isEqualTo(hasIt);
  }

  @ParameterizedTest
  @CsvSource({
    "fpu avx2 fma, false",
    "fpu avx512f avx512vl avx512bw avx512_vnni, false",
    "fpu avx512f avx512_bf16, true",
    "fpu amx_bf16 amx_tile, true"
  })
  void productsOfBfloat16NeedInstructionsForThem(String flags, boolean expected) {
    assertThat(new CpuFeatures(Set.of(flags.split(" "))).multipliesBfloat16()).isEqualTo(expected);
  }
}
