package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.Arguments;
import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The communicator over NCCL: tensors of one CUDA device for each rank, summed by NCCL's kernels.
 *
 * <p>Operations run on a CUDA stream of their own, begun by a daemon thread that also keeps the
 * deadlines. As {@link Communicator} says, a tensor is complete when it is handed over and left
 * alone until its {@link Work} is done: no stream of the engine waits for this one or is waited
 * for. Host memory cannot be handed over; numbers that lie there travel through another
 * communicator.
 *
 * <p>What differs from the host's transports, because NCCL is so:
 *
 * <ul>
 *   <li>Messages have no tags. Between two ranks the first {@link #send} meets the first {@link
 *       #receive}, whatever their tags; those of one {@link #exchange} are taken in the order of
 *       their tags on both sides. Who receives in another order than the peer sends gets the wrong
 *       message, or waits until the deadline where the lengths differ.
 *   <li>A send is done no earlier than the peer receives, and what comes after it waits. Two ranks
 *       that send to each other do so in one exchange.
 *   <li>Ranks that call different operations are not told so; they wait until the deadline, or get
 *       wrong numbers.
 *   <li>A failure does not name the rank at fault: NCCL knows that one is gone, not which.
 *   <li>{@link #traffic} is reckoned: what rings of the textbook would send. NCCL chooses among
 *       rings, trees and switches and tells nothing.
 * </ul>
 *
 * <p>Integers are averaged with the fraction cut off.
 */
public final class NcclCommunicator implements Communicator {
  private final String name;
  private final int rank;
  private final int size;
  private final Device device;
  private final Arguments arguments;
  private final CommandQueue queue;
  private final Nccl nccl;
  private final PairwiseTransfers pairwise;
  private final AtomicLong bytesSent = new AtomicLong();
  private final AtomicLong messagesSent = new AtomicLong();
  private long sequence;

  private NcclCommunicator(
      String name, int rank, int size, Device device, Duration timeout, Nccl nccl) {
    this.name = name;
    this.rank = rank;
    this.size = size;
    this.device = device;
    this.arguments = new Arguments(name, rank, size, "on " + device, this::reads);
    this.nccl = nccl;
    this.pairwise = new PairwiseTransfers(nccl, rank, size);
    this.queue =
        new CommandQueue(
            "rank " + rank + "/" + size, name, nccl, timeout, name + "-rank-" + rank + "-nccl");
  }

  /**
   * Meets the other ranks of a group, which all call this. It blocks until they have; no two of
   * them may be on the same device. A rank that cannot use NCCL throws before it takes part in the
   * exchange: where that may be, ranks first agree by what {@link NcclLibrary#probe} tells each.
   *
   * @param name the group's name in messages, {@code world} or {@code tensor[0]}
   * @param device where the tensors of this rank lie
   * @param timeout how long a rank may keep the others waiting
   * @param exchange brings NCCL's identifier of the group from its rank 0 to the others; called
   *     only where {@link NcclLibrary#isUsable}
   * @throws CollectiveException with {@link NcclLibrary#reason} where NCCL cannot be used here, or
   *     where the ranks did not meet
   */
  public static NcclCommunicator open(
      String name, int rank, int size, Device device, Duration timeout, UniqueIdExchange exchange)
      throws InterruptedException {
    requireMember(name, rank, size);
    NcclLibrary library = NcclLibrary.probe();
    String where = joining(name, rank, size);
    library.require(where);
    if (device.isCpu() || device.index() >= library.deviceCount()) {
      throw new CollectiveException(
          where
              + ": NCCL moves tensors of CUDA devices, and "
              + device
              + " is none of the "
              + library.deviceCount()
              + " here. Start at most one worker for each GPU, or write 'communication.transport:"
              + " auto'.");
    }
    return open(name, rank, size, device, timeout, exchange, new JavaCppNccl(device.index()));
  }

  static NcclCommunicator open(
      String name,
      int rank,
      int size,
      Device device,
      Duration timeout,
      UniqueIdExchange exchange,
      Nccl nccl)
      throws InterruptedException {
    byte[] id = new byte[NcclConstants.GROUP_ID_BYTES];
    if (rank == 0) {
      try {
        nccl.newGroupId(id);
      } catch (NcclError e) {
        throw new CollectiveException(
            joining(name, rank, size)
                + ": "
                + e.getMessage()
                + ". Start again with NCCL_DEBUG=WARN in the environment to see why.",
            e);
      }
    }
    exchange.share(id);
    NcclCommunicator opened = new NcclCommunicator(name, rank, size, device, timeout, nccl);
    try {
      opened.queue.join(size, id, rank).await();
      return opened;
    } catch (CollectiveException | InterruptedException e) {
      opened.close();
      throw e;
    }
  }

  private static String joining(String name, int rank, int size) {
    return "rank " + rank + "/" + size + " join in group " + name;
  }

  private static void requireMember(String name, int rank, int size) {
    if (size < 1 || rank < 0 || rank >= size) {
      throw new IllegalArgumentException(
          "Group " + name + " of " + size + " ranks has no rank " + rank);
    }
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
    return "nccl";
  }

  /** The own device's only: not another GPU's and not the host's. */
  @Override
  public boolean reads(Device other) {
    return other.equals(device);
  }

  @Override
  public Work allReduce(Tensor tensor, ReduceOperation operation) {
    arguments.requireUsable(tensor);
    long address = tensor.address();
    long count = tensor.elementCount();
    int type = NcclConstants.type(tensor.dtype());
    int reduction = NcclConstants.reduction(operation);
    countSent(2 * (tensor.byteSize() / size) * (size - 1), 2 * (size - 1));
    return submit("all_reduce", count, () -> nccl.allReduce(address, count, type, reduction));
  }

  @Override
  public Work reduce(Tensor tensor, ReduceOperation operation, int root) {
    arguments.requireUsable(tensor);
    arguments.requireRoot(root);
    long address = tensor.address();
    long count = tensor.elementCount();
    int type = NcclConstants.type(tensor.dtype());
    int reduction = NcclConstants.reduction(operation);
    if (rank != root) {
      countSent(tensor.byteSize(), 1);
    }
    return submit("reduce", count, () -> nccl.reduce(address, count, type, reduction, root));
  }

  @Override
  public Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation) {
    arguments.requireParts(input, output);
    long from = input.address();
    long to = output.address();
    long count = output.elementCount();
    int type = NcclConstants.type(input.dtype());
    int reduction = NcclConstants.reduction(operation);
    countSent(output.byteSize() * (size - 1), size - 1);
    return submit(
        "reduce_scatter", count, () -> nccl.reduceScatter(from, to, count, type, reduction));
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    arguments.requireParts(output, input);
    long from = input.address();
    long to = output.address();
    long count = input.elementCount();
    int type = NcclConstants.type(input.dtype());
    countSent(input.byteSize() * (size - 1), size - 1);
    return submit("all_gather", count, () -> nccl.allGather(from, to, count, type));
  }

  @Override
  public Work allGather(Tensor input, Tensor output, long[] counts) {
    long[] parts = arguments.requireUnequalParts(input, output, counts);
    long passedOn = output.elementCount() - parts[(rank + 1) % size];
    countSent(output.dtype().bytes(passedOn), size - 1);
    return submit("all_gather", () -> pairwise.allGather(input, output, parts));
  }

  @Override
  public Work gather(Tensor input, @Nullable Tensor output, int root) {
    Tensor whole = arguments.requireWholeOnRoot(output, input, root);
    if (whole == null) {
      countSent(input.byteSize(), 1);
    }
    return submit("gather", () -> pairwise.gather(input, whole, root));
  }

  @Override
  public Work scatter(@Nullable Tensor input, Tensor output, int root) {
    Tensor whole = arguments.requireWholeOnRoot(input, output, root);
    if (whole != null) {
      countSent(output.byteSize() * (size - 1), size - 1);
    }
    return submit("scatter", () -> pairwise.scatter(whole, output, root));
  }

  @Override
  public Work broadcast(Tensor tensor, int root) {
    arguments.requireUsable(tensor);
    arguments.requireRoot(root);
    long address = tensor.address();
    long count = tensor.elementCount();
    int type = NcclConstants.type(tensor.dtype());
    if ((rank + 1) % size != root) { // the last one passes nothing on
      countSent(tensor.byteSize(), 1);
    }
    return submit("broadcast", count, () -> nccl.broadcast(address, address, count, type, root));
  }

  @Override
  public Work allToAll(Tensor input, Tensor output) {
    long[] counts = arguments.requireEqualCounts(input);
    return allToAll(input, counts, output, counts);
  }

  @Override
  public Work allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    Arguments.Exchanged counts =
        arguments.requireExchanged(input, inputCounts, output, outputCounts);
    countSent(input.dtype().bytes(input.elementCount() - counts.sends()[rank]), size - 1);
    return submit(
        "all_to_all", () -> pairwise.allToAll(input, counts.sends(), output, counts.receives()));
  }

  @Override
  public Work send(Tensor tensor, int peer, int tag) {
    return transfer("send", List.of(new PointToPoint.Send(tensor, peer, tag)));
  }

  @Override
  public Work receive(Tensor tensor, int peer, int tag) {
    return transfer("receive", List.of(new PointToPoint.Receive(tensor, peer, tag)));
  }

  @Override
  public Work exchange(List<PointToPoint> transfers) {
    return transfer(
        "exchange", transfers.stream().sorted(Comparator.comparingInt(PointToPoint::tag)).toList());
  }

  private Work transfer(String title, List<PointToPoint> transfers) {
    arguments.requireTransfers(transfers);
    for (PointToPoint transfer : transfers) {
      if (transfer instanceof PointToPoint.Send) {
        countSent(transfer.tensor().byteSize(), 1);
      }
    }
    return submit(title, () -> pairwise.exchange(transfers));
  }

  /** A sum of one number, which is nowhere before all have given theirs. */
  @Override
  public Work barrier() {
    int type = NcclConstants.type(DType.INT32);
    int reduction = NcclConstants.reduction(ReduceOperation.MAXIMUM);
    return submit("barrier", () -> nccl.allReduce(nccl.scratch(), 1, type, reduction));
  }

  /** Empty: processes have no device memory in common here. */
  @Override
  public Optional<Storage> allocateShared(long bytes, Function<ByteBuffer, Storage> wrap) {
    return Optional.empty();
  }

  @Override
  public Traffic traffic() {
    return new Traffic(bytesSent.get(), messagesSent.get());
  }

  @Override
  public void close() {
    queue.close();
  }

  /** Where there are no elements, there is nothing for NCCL to do. */
  private Work submit(String title, long count, Runnable call) {
    return count == 0 ? submit(title, () -> {}) : submit(title, call);
  }

  private Work submit(String title, Runnable call) {
    return queue.submit(title, sequence++, call);
  }

  private void countSent(long bytes, long messages) {
    bytesSent.lazySet(bytesSent.get() + bytes); // one thread calls the operations
    messagesSent.lazySet(messagesSent.get() + messages);
  }
}
