package dev.phalanx.collectives;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.TestGroup.Network;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Ranks that read each other's memory, of which one gives up while another one reads. */
@Timeout(120)
final class SharedReadsTest {
  private static final int COUNT = 1_900_000; // of FLOAT32, most of the memory that is shared
  private static final int ATTEMPTS = 12;

  private static void fill(Tensor tensor, float value) {
    FloatBuffer values = HostTensors.bytes(tensor).asFloatBuffer();
    for (int i = 0; i < values.limit(); i++) {
      values.put(i, value);
    }
  }

  /** Its caller may use the memory for something else as soon as it has been told. */
  @ParameterizedTest
  @EnumSource(
      value = Network.class,
      names = {"SHARED_MEMORY", "IN_PROCESS"})
  void whatIsReadOfARankThatHasGivenUpIsNoResult(Network network) throws Exception {
    for (int attempt = 1; attempt <= ATTEMPTS; attempt++) {
      Duration patience = Duration.ofNanos(100_000L * attempt);
      try (TestGroup group = new TestGroup(network, 2, Duration.ofSeconds(20)).share()) {
        CountDownLatch ready = new CountDownLatch(2);
        List<Boolean> wrong =
            group.run(
                communicator -> {
                  boolean isFirst = communicator.rank() == 0;
                  Tensor input =
                      group
                          .memory(communicator.rank())
                          .allocate(DType.FLOAT32, isFirst ? COUNT : 1);
                  fill(input, 1);
                  Tensor output = HostTensors.Memory.PRIVATE.allocate(DType.FLOAT32, COUNT + 1);
                  ready.countDown();
                  ready.await(20, SECONDS);
                  Work work = communicator.allGather(input, output, new long[] {COUNT, 1});
                  try {
                    if (isFirst) {
                      work.await(patience);
                    } else {
                      work.await();
                    }
                  } catch (CollectiveException e) {
                    fill(input, -1);
                    return false;
                  }
                  return Arrays.stream(HostTensors.values(output)).anyMatch(value -> value != 1);
                });
        assertThat(wrong).as("attempt %d", attempt).containsOnly(false);
      }
    }
  }
}
