package dev.phalanx.sharding;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveMismatchException;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.sharding.RecordingCommunicator.Call;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.Parameter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;

final class OverlappedReducerTest {
  private static final long PATIENCE_SECONDS = 20;
  private static final int STEPS = 2;

  /** What a rank found after each step, and what it handed over. */
  private record RankOutcome(List<double[]> sums, List<Call> calls) {}

  /** One rank's part of a test. */
  private interface RankBody<T> {
    T run(Communicator communicator) throws Exception;
  }

  @Provide
  Arbitrary<List<Shape>> models() {
    return ModelShapes.arbitrary();
  }

  @Property(tries = 60)
  void gradientsAreSummedOverRanksWhateverOrderTheyCompleteIn(
      @ForAll("models") List<Shape> shapes,
      @ForAll @IntRange(min = 1, max = 4) int ranks,
      @ForAll @LongRange(min = 1, max = 10_000) long bucketBytes,
      @ForAll boolean overlap,
      @ForAll long seed)
      throws Exception {
    List<RankOutcome> outcomes =
        runRanks(ranks, communicator -> train(shapes, communicator, bucketBytes, overlap, seed));

    for (RankOutcome outcome : outcomes) {
      assertThat(outcome.calls()).isEqualTo(outcomes.get(0).calls());
      assertThat(outcome.calls()).allMatch(call -> call.operation() == ReduceOperation.SUM);
      for (int step = 0; step < STEPS; step++) {
        double[] sums = outcome.sums().get(step);
        for (int i = 0; i < sums.length; i++) {
          int element = i;
          int at = step;
          assertThat(sums[i])
              .as("element %d of step %d", i, step)
              .isEqualTo(
                  IntStream.range(0, ranks).mapToDouble(rank -> gradient(rank, at, element)).sum());
        }
      }
    }
  }

  private static RankOutcome train(
      List<Shape> shapes, Communicator communicator, long bucketBytes, boolean overlap, long seed)
      throws InterruptedException {
    int rank = communicator.rank();
    Random random = new Random(seed + rank);
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      FlatParameters flat = model.flat();
      RecordingCommunicator recording = RecordingCommunicator.over(communicator);
      OverlappedReducer reducer = model.reducer(recording, bucketBytes, overlap);
      List<double[]> sums = new ArrayList<>();
      for (int step = 0; step < STEPS; step++) {
        List<Parameter> order = new ArrayList<>(model.parameters());
        Collections.shuffle(order, random);
        for (Parameter parameter : order) {
          int at = step;
          int offset = Math.toIntExact(flat.offset(parameter));
          FlatModel.write(parameter.gradient(), i -> gradient(rank, at, offset + i));
          reducer.gradientComplete(parameter);
        }
        reducer.finish();
        sums.add(FlatModel.read(flat.gradients()));
      }
      return new RankOutcome(sums, recording.calls());
    }
  }

  /** Small whole numbers: any order of summation gives the same bits. */
  private static double gradient(int rank, int step, int element) {
    return (element * 7 + rank * 3 + step) % 11 - 5;
  }

  @Example
  void aBucketIsHandedOverWithItsLastGradient() throws InterruptedException {
    try (FlatModel model = FlatModel.of(Shape.of(2), Shape.of(2), Shape.of(2), Shape.of(2))) {
      RecordingCommunicator communicator = RecordingCommunicator.alone(2);
      OverlappedReducer reducer = model.reducer(communicator, 16, true);
      List<Parameter> parameters = model.flat().parameters();

      reducer.gradientComplete(parameters.get(1));
      assertThat(communicator.calls()).isEmpty();
      reducer.gradientComplete(parameters.get(0));
      assertThat(communicator.calls()).containsExactly(sum(0, 4));
      reducer.gradientComplete(parameters.get(2));
      reducer.gradientComplete(parameters.get(3));
      assertThat(communicator.calls()).containsExactly(sum(0, 4), sum(4, 4));
      reducer.finish();
      assertThat(communicator.calls()).hasSize(2);
    }
  }

  @Example
  void aBucketThatIsCompleteEarlyWaitsForThoseBeforeIt() {
    try (FlatModel model = FlatModel.of(Shape.of(1), Shape.of(2), Shape.of(3))) {
      RecordingCommunicator communicator = RecordingCommunicator.alone(2);
      OverlappedReducer reducer = model.reducer(communicator, 1, true);
      List<Parameter> parameters = model.flat().parameters();

      reducer.gradientComplete(parameters.get(2));
      reducer.gradientComplete(parameters.get(1));
      assertThat(communicator.calls()).isEmpty();
      reducer.gradientComplete(parameters.get(0));
      assertThat(communicator.calls()).containsExactly(sum(0, 3), sum(3, 2), sum(5, 1));
    }
  }

  /** A rank that went by what is over already would start other operations than its neighbour. */
  @Example
  void secondOperationsBeginAtTheSamePlaceOnAllRanks() throws InterruptedException {
    List<String> calls = new ArrayList<>();
    try (FlatModel model =
        FlatModel.of(Shape.of(1), Shape.of(1), Shape.of(1), Shape.of(1), Shape.of(1))) {
      OverlappedReducer reducer =
          new OverlappedReducer(
              model.layout(1), true, bucket -> recorded(bucket.index(), calls), new Waiting());
      model.flat().parameters().forEach(reducer::gradientComplete);
      assertThat(calls)
          .containsExactly(
              "start 0",
              "start 1",
              "start 2",
              "proceed 0",
              "start 3",
              "proceed 1",
              "start 4",
              "proceed 2");
      calls.clear();
      reducer.finish();
      assertThat(calls)
          .containsExactly(
              "proceed 3", "proceed 4", "await 0", "await 1", "await 2", "await 3", "await 4");
    }
  }

  private static DeviceCollectives.Pending recorded(int bucket, List<String> calls) {
    calls.add("start " + bucket);
    return new DeviceCollectives.Pending() {
      @Override
      public void proceed() {
        calls.add("proceed " + bucket);
      }

      @Override
      public void await() {
        calls.add("await " + bucket);
      }

      @Override
      public boolean isDone() {
        return true;
      }
    };
  }

  @Example
  void withoutOverlapNothingIsHandedOverBeforeTheEnd() throws InterruptedException {
    try (FlatModel model = FlatModel.of(Shape.of(1), Shape.of(2))) {
      RecordingCommunicator communicator = RecordingCommunicator.alone(2);
      OverlappedReducer reducer = model.reducer(communicator, 1, false);

      model.parameters().forEach(reducer::gradientComplete);
      assertThat(communicator.calls()).isEmpty();
      reducer.finish();
      assertThat(communicator.calls()).containsExactly(sum(0, 2), sum(2, 1));
    }
  }

  @Example
  void bucketsOfParametersThatAStepDidNotUseAreReducedToo() throws InterruptedException {
    try (FlatModel model = FlatModel.of(Shape.of(1), Shape.of(2), Shape.of(3))) {
      RecordingCommunicator communicator = RecordingCommunicator.alone(2);
      OverlappedReducer reducer = model.reducer(communicator, 1, true);

      reducer.gradientComplete(model.parameters().get(2));
      reducer.finish();
      assertThat(communicator.calls()).containsExactly(sum(0, 3), sum(3, 2), sum(5, 1));
    }
  }

  @Example
  void oneRankReducesNothing() throws InterruptedException {
    try (FlatModel model = FlatModel.of(Shape.of(1), Shape.of(2))) {
      RecordingCommunicator communicator = RecordingCommunicator.alone(1);
      OverlappedReducer reducer = model.reducer(communicator, 1, true);

      model.parameters().forEach(reducer::gradientComplete);
      reducer.finish();
      assertThat(communicator.calls()).isEmpty();
    }
  }

  private static Call sum(long offset, long count) {
    return new Call(offset, count, ReduceOperation.SUM);
  }

  @Example
  void aParameterOfAnotherModelIsRefused() {
    try (FlatModel model = FlatModel.of(Shape.of(1))) {
      OverlappedReducer reducer = model.reducer(RecordingCommunicator.alone(2), 1, true);
      Parameter foreign = new Parameter("foreign", Shape.of(4), (seed, element) -> 0);

      assertThatThrownBy(() -> reducer.gradientComplete(foreign))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("foreign");
    }
  }

  @Example
  void ranksThatCutTheirGradientsDifferentlyAreTold() throws Exception {
    List<Shape> shapes = List.of(Shape.of(10), Shape.of(20));

    List<Throwable> failures =
        runRanks(
            2, communicator -> failure(shapes, communicator, communicator.rank() == 0 ? 1 : 1000));

    assertThat(failures).hasAtLeastOneElementOfType(CollectiveMismatchException.class);
    assertThat(failures).allSatisfy(failure -> assertThat(failure).hasMessageContaining("rank "));
  }

  @Example
  void aRankThatLeavesFailsTheOthersByName() throws Exception {
    List<Shape> shapes = List.of(Shape.of(10), Shape.of(20));

    List<Throwable> failures =
        runRanks(
            2,
            communicator -> {
              if (communicator.rank() == 1) {
                communicator.close();
                return new CollectiveException("left");
              }
              return failure(shapes, communicator, 1000);
            });

    assertThat(failures.get(0))
        .isInstanceOf(CollectiveException.class)
        .hasMessageContaining("rank 1");
  }

  private static Throwable failure(
      List<Shape> shapes, Communicator communicator, long bucketBytes) {
    try {
      train(shapes, communicator, bucketBytes, true, 1);
    } catch (CollectiveException e) {
      return e;
    } catch (InterruptedException e) {
      throw new AssertionError("nobody interrupts", e);
    }
    throw new AssertionError("nothing failed");
  }

  /** Runs every rank on a thread of its own and gives the results in order. */
  private static <T> List<T> runRanks(int size, RankBody<T> body) throws Exception {
    InProcessGroups groups =
        new InProcessGroups(size, GroupOptions.withTimeout(Duration.ofSeconds(PATIENCE_SECONDS)));
    ExecutorService threads = Executors.newCachedThreadPool();
    List<Communicator> communicators = new ArrayList<>();
    try {
      for (int rank = 0; rank < size; rank++) {
        communicators.add(groups.ofRank(rank).world());
      }
      List<Future<T>> futures = new ArrayList<>();
      for (Communicator communicator : communicators) {
        futures.add(threads.submit(() -> body.run(communicator)));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : futures) {
        results.add(future.get(PATIENCE_SECONDS, SECONDS));
      }
      return results;
    } finally {
      communicators.forEach(Communicator::close);
      threads.shutdownNow();
    }
  }
}
