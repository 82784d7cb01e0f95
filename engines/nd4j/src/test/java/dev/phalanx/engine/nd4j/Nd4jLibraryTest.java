package dev.phalanx.engine.nd4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Which build of ND4J is loaded. */
class Nd4jLibraryTest {
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
