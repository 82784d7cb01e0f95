package dev.phalanx.trainer.rehearsal;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.collectives.Work;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * Sends nothing and counts what a rank would send: by the ring's algorithms, which send as little
 * as is possible, payload only. Of trees and direct algorithms, which small tensors take, the bytes
 * of a single rank may differ. Memory stays as it is, unless a subclass says otherwise.
 */
class RehearsalCommunicator implements Communicator {
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

  /** Of every transport, unless very many ranks share a host, or there is little shared memory. */
  private static final long PIECE_BYTES = TcpEndpoint.PIECE_BYTES;

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

  /**
   * @param chunks the bytes of each chunk that this rank sends, which goes in pieces
   */
  private Work count(String operation, LongStream chunks) {
    if (size > 1) {
      long messages = 0;
      long bytes = 0;
      for (long chunk : chunks.toArray()) {
        messages += Math.max(1, (chunk + PIECE_BYTES - 1) / PIECE_BYTES);
        bytes += chunk;
      }
      sent.add(operation, messages, bytes);
    }
    return DONE;
  }

  /** The same chunk several times. */
  private static LongStream times(int count, long bytes) {
    return LongStream.generate(() -> bytes).limit(count);
  }

  /** All ranks' numbers but one, which may be counted around the ring. */
  private IntStream allBut(int index) {
    int left = Math.floorMod(index, size);
    return IntStream.range(0, size).filter(each -> each != left);
  }

  /** Bytes of one of n about equal parts, of which the first ones are the larger. */
  private long part(Tensor tensor, int index) {
    long elements = tensor.elementCount();
    return tensor.dtype().bytes(elements / size + (index < elements % size ? 1 : 0));
  }

  /** Round the ring twice: of each round all parts but one are sent. */
  @Override
  public Work allReduce(Tensor tensor, ReduceOperation operation) {
    return count(
        "all_reduce",
        IntStream.concat(allBut(rank + 1), allBut(rank + 2))
            .mapToLong(index -> part(tensor, index)));
  }

  @Override
  public Work reduce(Tensor tensor, ReduceOperation operation, int root) {
    return count("reduce", times(rank == root ? 0 : 1, tensor.byteSize()));
  }

  @Override
  public Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation) {
    return count("reduce_scatter", times(size - 1, input.byteSize() / size));
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    return count("all_gather", times(size - 1, input.byteSize()));
  }

  @Override
  public Work allGather(Tensor input, Tensor output, long[] counts) {
    return count(
        "all_gather", allBut(rank + 1).mapToLong(index -> output.dtype().bytes(counts[index])));
  }

  @Override
  public Work gather(Tensor input, @Nullable Tensor output, int root) {
    return count("gather", times(rank == root ? 0 : 1, input.byteSize()));
  }

  @Override
  public Work scatter(@Nullable Tensor input, Tensor output, int root) {
    return count("scatter", times(rank == root ? size - 1 : 0, output.byteSize()));
  }

  @Override
  public Work broadcast(Tensor tensor, int root) {
    boolean isLast = Math.floorMod(rank + 1, size) == root;
    return count("broadcast", times(isLast ? 0 : 1, tensor.byteSize()));
  }

  @Override
  public Work allToAll(Tensor input, Tensor output) {
    return count("all_to_all", times(size - 1, input.byteSize() / size));
  }

  @Override
  public Work allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    return count(
        "all_to_all", allBut(rank).mapToLong(index -> input.dtype().bytes(inputCounts[index])));
  }

  @Override
  public Work send(Tensor tensor, int peer, int tag) {
    return count("send", times(1, tensor.byteSize()));
  }

  @Override
  public Work receive(Tensor tensor, int peer, int tag) {
    return DONE;
  }

  @Override
  public Work exchange(List<PointToPoint> transfers) {
    return count(
        "exchange",
        transfers.stream()
            .filter(transfer -> transfer instanceof PointToPoint.Send)
            .mapToLong(transfer -> transfer.tensor().byteSize()));
  }

  @Override
  public Work barrier() {
    int rounds = Integer.SIZE - Integer.numberOfLeadingZeros(size - 1); // lg n, rounded up
    return count("barrier", times(rounds, 0));
  }

  @Override
  public Optional<Storage> allocateShared(long bytes, Function<ByteBuffer, Storage> wrap) {
    return Optional.empty();
  }

  @Override
  public Traffic traffic() {
    return new Traffic(sent.bytes(), sent.messages());
  }

  @Override
  public void close() {
    // nothing is open
  }
}
