package dev.phalanx.engine.nd4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.engine.host.CpuFeatures;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which build of ND4J is loaded. */
class Nd4jLibraryTest {
  @ParameterizedTest
  @CsvSource({
    "sse2 avx avx2 fma, false",
    "sse2 avx avx2 fma avx512f avx512vl avx512bw avx512dq avx512cd, true",
    "avx512f avx512cd avx512er avx512pf, false", // Xeon Phi: another AVX-512
    "avx512fp16 avx512vl avx512bw avx512dq avx512cd, false"
  })
  void theBuildForAvx512NeedsAllOfItsInstructions(String flags, boolean canRun) {
    assertThat(Nd4jLibrary.canRunAvx512(new CpuFeatures(Set.of(flags.split(" ")))))
        .isEqualTo(canRun);
  }

  @Test
  void theLoadedLibraryIsTheOneThatWasChosen() throws IOException {
    try (Engine engine = new Nd4jEngineProvider().open(EngineOptions.singleThreaded());
        Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      String build = Nd4jLibrary.usesAvx512() ? "linux-x86_64-avx512" : "linux-x86_64";
      assertThat(maps.filter(line -> line.endsWith("/libnd4jcpu.so")))
          .isNotEmpty()
          .allMatch(line -> line.endsWith("/bindings/" + build + "/libnd4jcpu.so"));
      assertThat(engine.description()).contains("ND4J 1.0.0-M2.1");
    }
  }
}
