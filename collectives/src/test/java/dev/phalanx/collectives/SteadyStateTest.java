package dev.phalanx.collectives;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.TestGroup.Network;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What an operation takes from the heap and the system when many have gone before it. */
@Timeout(600)
final class SteadyStateTest {
  private static final Duration LONG = Duration.ofSeconds(60);

  /** What 100,000 operations may take where other tests have the cores. */
  private static final Duration SLOW_MACHINE = Duration.ofMinutes(4);

  private static final int OPERATIONS = 3_000;
  private static final int WARM_UP = 3_000;

  /**
   * Of one operation on one rank: the call, its handle, a header and a few views of buffers for
   * each of its messages. Twice what was seen.
   */
  private static final long MOST_BYTES = 4096;

  /** All of this JVM's threads: any may run operations. */
  private static long allocatedBytes() {
    com.sun.management.ThreadMXBean threads =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    return Arrays.stream(threads.getThreadAllocatedBytes(threads.getAllThreadIds()))
        .filter(bytes -> bytes > 0)
        .sum();
  }

  /**
   * Of two ranks.
   *
   * @param isShared whether they read each other's tensors, of whatever size, where they lie
   */
  private static TestGroup group(Network network, boolean isShared) throws Exception {
    Algorithm algorithm = isShared ? Algorithm.DIRECT : Algorithm.AUTO;
    TestGroup group = new TestGroup(network, 2, new GroupOptions(algorithm, LONG, 1));
    return isShared ? group.share() : group;
  }

  private static void allReduce(Network network, TestGroup group, int elements, int times)
      throws Exception {
    group.run(
        communicator -> {
          Tensor tensor =
              HostTensors.of(group.memory(communicator.rank()), DType.FLOAT32, elements, i -> 0);
          for (int i = 0; i < times; i++) {
            communicator.allReduce(tensor, ReduceOperation.SUM).await();
          }
          return network;
        },
        SLOW_MACHINE);
  }

  private static long bytesPerOperation(Network network, TestGroup group, int elements)
      throws Exception {
    allReduce(network, group, elements, WARM_UP);
    long before = allocatedBytes();
    allReduce(network, group, elements, OPERATIONS);
    return (allocatedBytes() - before) / OPERATIONS / 2; // of two ranks
  }

  @ParameterizedTest
  @CsvSource({"IN_PROCESS, false", "SHARED_MEMORY, false", "SHARED_MEMORY, true", "TCP, false"})
  void anOperationTakesLittleOfTheHeapWhateverItsSize(Network network, boolean isShared)
      throws Exception {
    try (TestGroup group = group(network, isShared)) {
      long small = bytesPerOperation(network, group, 16);
      int elements = 2048; // by the same algorithm, still a piece
      long larger = bytesPerOperation(network, group, elements);
      assertThat(small).isLessThan(MOST_BYTES);
      // What the compiler saves meanwhile is some hundred bytes; one copy is eight thousand.
      assertThat(Math.abs(larger - small)).isLessThan((long) elements * Float.BYTES / 4);
    }
  }

  /** In a virtual machine whose heap is all there from the beginning, so that it cannot grow. */
  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "IN_PROCESS, false",
    "SHARED_MEMORY, false",
    "SHARED_MEMORY, true",
    "TCP, false",
    "GRPC, false"
  })
  void manyOperationsTakeNoMoreMemoryThanFew(
      Network network, boolean isShared, @TempDir Path folder) throws Exception {
    int operations = 100_000;
    Path output = folder.resolve("output");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                Growth.class.getName(),
                network.name(),
                String.valueOf(isShared),
                String.valueOf(operations))
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      boolean hasEnded = process.waitFor(2 * SLOW_MACHINE.toSeconds(), TimeUnit.SECONDS);
      assertThat(hasEnded).as("it ends; so far %s", Files.readString(output)).isTrue();
    } finally {
      process.destroyForcibly();
    }
    List<String> lines = Files.readAllLines(output, StandardCharsets.UTF_8);
    assertThat(process.exitValue()).as("%s", lines).isZero();
    long grownBytes = Long.parseLong(lines.get(lines.size() - 1)) * 1024;
    assertThat(grownBytes).isLessThan(64L * operations); // less than a cache line an operation
  }

  /** Prints by how many KiB the process grows in many all-reduces of 1 KiB. */
  static final class Growth {
    private static final int COUNT = 256;

    /** Memory of rings is not there before something has been written to it. */
    private static final int ONCE_AROUND_THE_RINGS = 50_000;

    private Growth() {}

    public static void main(String[] arguments) throws Exception {
      Network network = Network.valueOf(arguments[0]);
      boolean isShared = Boolean.parseBoolean(arguments[1]);
      try (TestGroup group = group(network, isShared)) {
        allReduce(network, group, COUNT, ONCE_AROUND_THE_RINGS);
        long before = residentKibibytes();
        allReduce(network, group, COUNT, Integer.parseInt(arguments[2]));
        System.out.println(residentKibibytes() - before);
      }
    }

    private static long residentKibibytes() throws IOException {
      return Files.readAllLines(Path.of("/proc/self/status"), StandardCharsets.UTF_8).stream()
          .filter(line -> line.startsWith("VmRSS:"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
          .findFirst()
          .orElseThrow();
    }
  }

  /** Pieces of a large tensor take views, and no copies of what is in them. */
  @Test
  void aLargeTensorIsNotCopiedToTheHeap() throws Exception {
    try (TestGroup group = new TestGroup(Network.TCP, 2, LONG)) {
      int elements = 1 << 20; // 4 MiB, sixteen pieces
      allReduce(Network.TCP, group, elements, 20);
      long before = allocatedBytes();
      allReduce(Network.TCP, group, elements, 50);
      long perOperation = (allocatedBytes() - before) / 50 / 2;
      assertThat(perOperation).isLessThan(16 * MOST_BYTES);
    }
  }
}
