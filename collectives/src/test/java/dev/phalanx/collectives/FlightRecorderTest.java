package dev.phalanx.collectives;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.status.RankStatus;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.tensor.DType;
import org.junit.jupiter.api.Test;

final class FlightRecorderTest {
  private final FlightRecorder recorder = new FlightRecorder();

  private static Call call(long sequence) {
    return new Call(
        sequence, Operation.ALL_REDUCE, DType.FLOAT32, ReduceOperation.SUM, -1, 10 * sequence);
  }

  private static String description(long sequence) {
    return "all_reduce #" + sequence + " (SUM of " + 10 * sequence + " FLOAT32)";
  }

  @Test
  void atFirstThereIsNothing() {
    RankStatus status = recorder.status("g", 2, -1);
    assertThat(status.group()).isEqualTo("g");
    assertThat(status.rank()).isEqualTo(2);
    assertThat(status.lastFinished()).isEmpty();
    assertThat(status.current()).isEmpty();
    assertThat(status.waitsFor()).isEmpty();
    assertThat(recorder.lines()).isEmpty();
  }

  @Test
  void anOperationUnderWayIsTheCurrentOne() {
    recorder.begin(call(0));
    recorder.end();
    recorder.begin(call(1));
    RankStatus status = recorder.status("g", 0, 3);
    assertThat(status.lastFinished()).hasValue(description(0));
    assertThat(status.current()).hasValue(description(1));
    assertThat(status.waitsFor()).hasValue(3);
    assertThat(recorder.lines().get(0)).startsWith(description(0)).contains("took");
    assertThat(recorder.lines().get(1)).startsWith(description(1)).contains("has been running");
  }

  @Test
  void whoIsInNoOperationWaitsForNobody() {
    recorder.begin(call(5));
    recorder.end();
    RankStatus status = recorder.status("g", 0, 3);
    assertThat(status.lastFinished()).hasValue(description(5));
    assertThat(status.current()).isEmpty();
    assertThat(status.waitsFor()).isEmpty();
  }

  @Test
  void anOperationThatFailedIsOverAndNotFinished() {
    recorder.begin(call(0));
    recorder.end();
    recorder.begin(call(1));
    recorder.fail();
    RankStatus status = recorder.status("g", 0, 3);
    assertThat(status.lastFinished()).hasValue(description(0));
    assertThat(status.current())
        .hasValueSatisfying(
            current -> assertThat(current).startsWith(description(1)).contains("failed"));
    assertThat(status.waitsFor()).hasValue(3);
    assertThat(recorder.lines().get(0)).contains("took");
    assertThat(recorder.lines().get(1)).startsWith(description(1)).contains("failed after");
  }

  @Test
  void whatFailsBetweenOperationsIsNoneOfThem() {
    recorder.begin(call(0));
    recorder.end();
    recorder.fail();
    assertThat(recorder.status("g", 0, -1).lastFinished()).hasValue(description(0));
    assertThat(recorder.lines().get(0)).contains("took");
  }

  @Test
  void theLastOperationsAreKeptInOrder() {
    for (int i = 0; i < 3 * FlightRecorder.LENGTH + 5; i++) {
      recorder.begin(call(i));
      recorder.end();
    }
    assertThat(recorder.lines()).hasSize(FlightRecorder.LENGTH);
    for (int i = 0; i < FlightRecorder.LENGTH; i++) {
      assertThat(recorder.lines().get(i))
          .startsWith(description(2L * FlightRecorder.LENGTH + 5 + i));
    }
  }
}
