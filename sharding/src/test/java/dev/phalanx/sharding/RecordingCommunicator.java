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
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Notes what is handed over, by its place in flat memory, and does it by another communicator, or
 * not at all. One thread.
 */
final class RecordingCommunicator implements Communicator {
  /** An all-reduce of {@code count} elements from {@code offset}. */
  record Call(long offset, long count, ReduceOperation operation) {}

  /** Is done without doing anything. */
  private static final class Nothing implements Work {
    @Override
    public void await(Duration deadline) {}

    @Override
    public void await() {}

    @Override
    public boolean isDone() {
      return true;
    }

    @Override
    public void whenDone(Runnable action) {
      action.run();
    }
  }

  private interface AllReduce {
    Work start(Tensor tensor, ReduceOperation operation);
  }

  private final int size;
  private final AllReduce allReduce;
  private final List<Call> calls = new ArrayList<>();

  private RecordingCommunicator(int size, AllReduce allReduce) {
    this.size = size;
    this.allReduce = allReduce;
  }

  /** One of {@code size} ranks of which nobody answers; operations leave tensors as they are. */
  static RecordingCommunicator alone(int size) {
    return new RecordingCommunicator(size, (tensor, operation) -> new Nothing());
  }

  static RecordingCommunicator over(Communicator communicator) {
    return new RecordingCommunicator(communicator.size(), communicator::allReduce);
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
    throw onlyAllReduced();
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    throw onlyAllReduced();
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
