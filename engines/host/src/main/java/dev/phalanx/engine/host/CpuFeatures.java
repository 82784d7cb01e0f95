package dev.phalanx.engine.host;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What the processor and the system can do together.
 *
 * @param flags as Linux names them
 */
public record CpuFeatures(Set<String> flags) {
  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");

  private static final Set<String> AVX512 =
      Set.of("avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512cd");

  /** Either multiplies BFLOAT16 numbers. */
  private static final Set<String> BFLOAT16_PRODUCTS = Set.of("avx512_bf16", "amx_bf16");

  public CpuFeatures {
    flags = Set.copyOf(flags);
  }

  /** Of this machine. */
  public static CpuFeatures ofThisMachine() {
    return read(CPU_INFO);
  }

  /**
   * @param cpuInfo as Linux tells it; without such a file there are none
   */
  public static CpuFeatures read(Path cpuInfo) {
    try (Stream<String> lines = Files.lines(cpuInfo, StandardCharsets.ISO_8859_1)) {
      return new CpuFeatures(
          lines
              .filter(line -> line.startsWith("flags"))
              .limit(1)
              .flatMap(
                  line ->
                      Arrays.stream(line.substring(line.indexOf(':') + 1).strip().split("\\s+")))
              .collect(Collectors.toSet()));
    } catch (IOException | UncheckedIOException e) {
      return new CpuFeatures(Set.of());
    }
  }

  /** Whether vectors are 512 bits wide, with all that compilers take for granted then. */
  public boolean hasAvx512() {
    return flags.containsAll(AVX512);
  }

  /** Whether there are instructions for products of BFLOAT16 numbers. */
  public boolean multipliesBfloat16() {
    return BFLOAT16_PRODUCTS.stream().anyMatch(flags::contains);
  }
}
