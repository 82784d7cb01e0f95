package dev.phalanx.trainer.model;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.parallelism.context.ContextGroup;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.autograd.Dropout;
import dev.phalanx.trainer.rehearsal.RehearsalEngine;
import dev.phalanx.trainer.rehearsal.RehearsalGroups;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ForwardPassTest {
  private static final long BATCH = 3;
  private static final long SEQUENCE = 24;
  private static final long WIDTH = 5;
  private static final long FIRST_SEQUENCE = 7;
  private static final PassSetup SETUP = new PassSetup(0, FIRST_SEQUENCE, 0);

  /** Each element of the micro-batch has its number on one rank. */
  @ParameterizedTest
  @CsvSource({"1, 1", "2, 1", "3, 1", "4, 1", "1, 2", "2, 2", "3, 4", "6, 3"})
  void elementsOfAllRanksAreThoseOfTheBatch(int contextRanks, int tensorRanks) {
    List<Long> numbers = new ArrayList<>();
    try (Arena host = new Arena(new RehearsalEngine().engine(), Device.CPU)) {
      for (int place = 0; place < contextRanks; place++) {
        ContextGroup context = context(place, contextRanks, host);
        long length = context.length(SEQUENCE);
        ForwardPass pass = new ForwardPass(BATCH, length, 0, context, null, true, SETUP);
        for (int rank = 0; rank < tensorRanks; rank++) {
          List<Dropout.Run> runs = pass.elements(tensor(rank, tensorRanks, host), WIDTH);
          assertThat(runs.stream().mapToLong(Dropout.Run::rows).sum())
              .isEqualTo(BATCH * length / tensorRanks);
          for (Dropout.Run run : runs) {
            LongStream.range(0, run.rows() * WIDTH).forEach(i -> numbers.add(run.firstIndex() + i));
          }
        }
      }
    }
    long first = FIRST_SEQUENCE * SEQUENCE * WIDTH;
    assertThat(numbers)
        .containsExactlyInAnyOrderElementsOf(
            LongStream.range(first, first + BATCH * SEQUENCE * WIDTH).boxed().toList());
  }

  @Test
  void whatFollowsEachOtherIsOneRun() {
    try (Arena host = new Arena(new RehearsalEngine().engine(), Device.CPU)) {
      assertThat(runs(0, 1, host)).isEqualTo(1);
      assertThat(runs(1, 2, host)).isEqualTo((int) BATCH); // its chunks are neighbours
      assertThat(runs(0, 2, host)).isEqualTo((int) BATCH + 1); // a sequence's end and the next one
    }
  }

  private static int runs(int rank, int ranks, Arena host) {
    ContextGroup context = context(rank, ranks, host);
    return new ForwardPass(BATCH, context.length(SEQUENCE), 0, context, null, true, SETUP)
        .elements(TensorGroup.single(), WIDTH)
        .size();
  }

  private static ContextGroup context(int rank, int size, Arena host) {
    return size == 1
        ? ContextGroup.single()
        : ContextGroup.of(new RehearsalGroups(rank, size).world(), host);
  }

  private static TensorGroup tensor(int rank, int size, Arena host) {
    return size == 1
        ? TensorGroup.single()
        : TensorGroup.of(new RehearsalGroups(rank, size).world(), host, true);
  }
}
