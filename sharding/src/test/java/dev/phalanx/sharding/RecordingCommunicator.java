package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Notes what is handed over and does it by another communicator, or not at all: all-reduces by
 * their place in flat memory, and of one that does nothing also the events of each operation. One
 * thread.
 */
final class RecordingCommunicator implements Communicator {
  /** An all-reduce of {@code count} elements from {@code offset}. */
  record Call(long offset, long count, ReduceOperation operation) {}

  /** Does nothing, and is over when it is awaited. */
  private static final class Nothing implements Work {
    private final String name;
    private final Consumer<String> events;
    private boolean isAwaited;

    Nothing(String name, Consumer<String> events) {
      this.name = name;
      this.events = events;
      events.accept(name);
    }

    @Override
    public void await(Duration deadline) {
      await();
    }

    @Override
    public void await() {
      isAwaited = true;
      events.accept("awaited " + name);
    }

    @Override
    public boolean isDone() {
      return isAwaited;
    }

    @Override
    public void whenDone(Runnable action) {
      throw new AssertionError("nobody is told");
    }
  }

  private interface AllReduce {
    Work start(Tensor tensor, ReduceOperation operation);
  }

  private final int size;
  private final AllReduce allReduce;
  private final @Nullable Consumer<String> events; // null: another communicator's
  private final List<Call> calls = new ArrayList<>();

  private RecordingCommunicator(int size, AllReduce allReduce, @Nullable Consumer<String> events) {
    this.size = size;
    this.allReduce = allReduce;
    this.events = events;
  }

  /** One of {@code size} ranks of which nobody answers; operations leave tensors as they are. */
  static RecordingCommunicator alone(int size) {
    return alone(size, event -> {});
  }

  /**
   * As {@link #alone(int)}.
   *
   * @param events is told of operations by the elements of what all ranks have together: {@code
   *     all-gather 24} when one begins, {@code awaited all-gather 24} when its end is waited for
   */
  static RecordingCommunicator alone(int size, Consumer<String> events) {
    return new RecordingCommunicator(
        size,
        (tensor, operation) -> new Nothing("all-reduce " + tensor.elementCount(), events),
        events);
  }

  static RecordingCommunicator over(Communicator communicator) {
    return new RecordingCommunicator(communicator.size(), communicator::allReduce, null);
  }

  List<Call> calls() {
    return List.copyOf(calls);
  }

  @Override
  public Work allReduce(Tensor tensor, ReduceOperation operation) {
    calls.add(new Call(tensor.offset(), tensor.elementCount(), operation));
    return allReduce.start(tensor, operation);
  }

  @Override
  public String transport() {
    return "recording";
  }

  @Override
  public boolean reads(Device device) {
    return device.isCpu();
  }

  @Override
  public int rank() {
    return 0;
  }

  @Override
  public int size() {
    return size;
  }

  @Override
  public String name() {
    return "recording";
  }

  @Override
  public Work reduce(Tensor tensor, ReduceOperation operation, int root) {
    throw onlyAllReduced();
  }

  @Override
  public Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation) {
    return nothing("reduce-scatter " + input.elementCount());
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    return nothing("all-gather " + output.elementCount());
  }

  private Work nothing(String name) {
    if (events == null) {
      throw onlyAllReduced();
    }
    return new Nothing(name, events);
  }

  @Override
  public Work allGather(Tensor input, Tensor output, long[] counts) {
    throw onlyAllReduced();
  }

  @Override
  public Work gather(Tensor input, @Nullable Tensor output, int root) {
    throw onlyAllReduced();
  }

  @Override
  public Work scatter(@Nullable Tensor input, Tensor output, int root) {
    throw onlyAllReduced();
  }

  @Override
  public Work broadcast(Tensor tensor, int root) {
    throw onlyAllReduced();
  }

  @Override
  public Work allToAll(Tensor input, Tensor output) {
    throw onlyAllReduced();
  }

  @Override
  public Work allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    throw onlyAllReduced();
  }

  @Override
  public Work send(Tensor tensor, int peer, int tag) {
    throw onlyAllReduced();
  }

  @Override
  public Work receive(Tensor tensor, int peer, int tag) {
    throw onlyAllReduced();
  }

  @Override
  public Work exchange(List<PointToPoint> transfers) {
    throw onlyAllReduced();
  }

  @Override
  public Work barrier() {
    throw onlyAllReduced();
  }

  private static AssertionError onlyAllReduced() {
    return new AssertionError("gradients are all-reduced");
  }

  @Override
  public Optional<Storage> allocateShared(long bytes, Function<ByteBuffer, Storage> wrap) {
    return Optional.empty();
  }

  @Override
  public Traffic traffic() {
    throw new AssertionError("nobody asks for traffic");
  }

  @Override
  public void close() {}
}
