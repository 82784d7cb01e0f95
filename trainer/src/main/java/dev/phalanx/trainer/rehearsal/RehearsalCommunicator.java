package dev.phalanx.trainer.rehearsal;

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
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Sends nothing and counts what a rank would send: by the ring's algorithms, which send as little
 * as is possible, payload only. Of trees and direct algorithms, which small tensors take, the bytes
 * of a single rank may differ.
 */
final class RehearsalCommunicator implements Communicator {
  private static final Work DONE =
      new Work() {
        @Override
        public void await(Duration deadline) {
          // it is done
        }

        @Override
        public void await() {
          // it is done
        }

        @Override
        public boolean isDone() {
          return true;
        }

        @Override
        public void whenDone(Runnable action) {
          action.run();
        }
      };

  private final String name;
  private final int rank;
  private final int size;
  private final SentOperations sent = new SentOperations();

  RehearsalCommunicator(String name, int rank, int size) {
    this.name = name;
    this.rank = rank;
    this.size = size;
  }

  SentOperations sent() {
    return sent;
  }

  @Override
  public int rank() {
    return rank;
  }

  @Override
  public int size() {
    return size;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String transport() {
    return "rehearsal";
  }

  @Override
  public boolean reads(Device device) {
    return true;
  }

  private Work count(String operation, long bytes) {
    if (size > 1) {
      sent.add(operation, bytes);
    }
    return DONE;
  }

  /** Bytes of one of n about equal parts, of which the first ones are the larger. */
  private long part(Tensor tensor, int index) {
    long elements = tensor.elementCount();
    return tensor
        .dtype()
        .bytes(elements / size + (Math.floorMod(index, size) < elements % size ? 1 : 0));
  }

  /** Round the ring twice: of each round all parts but one are sent. */
  @Override
  public Work allReduce(Tensor tensor, ReduceOperation operation) {
    return count(
        "all_reduce", 2 * tensor.byteSize() - part(tensor, rank + 1) - part(tensor, rank + 2));
  }

  @Override
  public Work reduce(Tensor tensor, ReduceOperation operation, int root) {
    return count("reduce", rank == root ? 0 : tensor.byteSize());
  }

  @Override
  public Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation) {
    return count("reduce_scatter", input.byteSize() / size * (size - 1));
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    return count("all_gather", input.byteSize() * (size - 1));
  }

  @Override
  public Work allGather(Tensor input, Tensor output, long[] counts) {
    long next = output.dtype().bytes(counts[Math.floorMod(rank + 1, size)]);
    return count("all_gather", output.byteSize() - next);
  }

  @Override
  public Work gather(Tensor input, @Nullable Tensor output, int root) {
    return count("gather", rank == root ? 0 : input.byteSize());
  }

  @Override
  public Work scatter(@Nullable Tensor input, Tensor output, int root) {
    return count("scatter", rank == root ? output.byteSize() * (size - 1) : 0);
  }

  @Override
  public Work broadcast(Tensor tensor, int root) {
    return count("broadcast", Math.floorMod(rank + 1, size) == root ? 0 : tensor.byteSize());
  }

  @Override
  public Work allToAll(Tensor input, Tensor output) {
    return count("all_to_all", input.byteSize() / size * (size - 1));
  }

  @Override
  public Work allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    long others = Arrays.stream(inputCounts).sum() - inputCounts[rank];
    return count("all_to_all", input.dtype().bytes(others));
  }

  @Override
  public Work send(Tensor tensor, int peer, int tag) {
    return count("send", tensor.byteSize());
  }

  @Override
  public Work receive(Tensor tensor, int peer, int tag) {
    return DONE;
  }

  @Override
  public Work exchange(List<PointToPoint> transfers) {
    long bytes =
        transfers.stream()
            .filter(transfer -> transfer instanceof PointToPoint.Send)
            .mapToLong(transfer -> transfer.tensor().byteSize())
            .sum();
    return count("exchange", bytes);
  }

  @Override
  public Work barrier() {
    return count("barrier", 0);
  }

  @Override
  public Optional<Storage> allocateShared(long bytes, Function<ByteBuffer, Storage> wrap) {
    return Optional.empty();
  }

  @Override
  public Traffic traffic() {
    return new Traffic(sent.bytes(), sent.count());
  }

  @Override
  public void close() {
    // nothing is open
  }
}
