package dev.phalanx.collectives.device;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Collectives on tensors of any device. Where the communicator cannot read a device's memory,
 * tensors travel through a copy on the host. In a group of one rank nothing is sent.
 *
 * <p>Used by the thread that owns the arena.
 */
public final class DeviceCollectives {
  /** An operation under way. It is awaited once; then its tensors may be used again. */
  public interface Pending {
    /**
     * Of two operations of which the second one follows from the first: waits for that and hands
     * the second one over. All ranks do it in the order in which they started.
     */
    default void proceed() throws InterruptedException {
      // one operation is enough for most
    }

    void await() throws InterruptedException;

    /** Whether {@link #await} would return at once. */
    boolean isDone();
  }

  public static final Pending DONE =
      new Pending() {
        @Override
        public void await() {
          // nothing is under way
        }

        @Override
        public boolean isDone() {
          return true;
        }
      };

  private final Engine engine;
  private final Arena host;
  private final Communicator communicator;

  /**
   * @param host an arena on the CPU; it owns the copies
   */
  public DeviceCollectives(Arena host, Communicator communicator) {
    this.engine = host.engine();
    this.host = host;
    this.communicator = communicator;
  }

  /** Numbers that the host reads again, [n] INT64 on the CPU; whoever asks for it closes it. */
  public Tensor numbers(long[] values) {
    return HostArrays.upload(host, values);
  }

  /** Sums over all ranks, in place. */
  public Pending allReduce(Tensor tensor) {
    return allReduce(tensor, ReduceOperation.SUM);
  }

  /** Reduces each element over all ranks, in place. */
  public Pending allReduce(Tensor tensor, ReduceOperation operation) {
    if (communicator.size() == 1) {
      return DONE;
    }
    engine.synchronize(tensor.device());
    if (communicator.reads(tensor.device())) {
      return new Direct(communicator.allReduce(tensor, operation));
    }
    Tensor copy = copy(tensor);
    return new Copied(communicator.allReduce(copy, operation), List.of(copy), copy, tensor);
  }

  /**
   * Sums over all ranks and leaves each with its part.
   *
   * @param whole [ranks * n]; undefined afterwards
   * @param part [n]; may be this rank's own slice of {@code whole}
   */
  public Pending reduceScatter(Tensor whole, Tensor part) {
    if (communicator.size() == 1) {
      copyWhereApart(whole, part);
      return DONE;
    }
    engine.synchronize(whole.device());
    if (communicator.reads(whole.device())) {
      return new Direct(communicator.reduceScatter(whole, part, ReduceOperation.SUM));
    }
    Tensor copy = copy(whole);
    Tensor own = ownPart(copy);
    return new Copied(
        communicator.reduceScatter(copy, own, ReduceOperation.SUM), List.of(copy), own, part);
  }

  /**
   * Every rank gets the parts of all.
   *
   * @param part [n]; may be this rank's own slice of {@code whole}
   * @param whole [ranks * n]
   */
  public Pending allGather(Tensor part, Tensor whole) {
    if (communicator.size() == 1) {
      copyWhereApart(part, whole);
      return DONE;
    }
    engine.synchronize(part.device());
    if (communicator.reads(whole.device())) {
      return new Direct(communicator.allGather(part, whole));
    }
    Tensor copy = host.allocate(whole.dtype(), whole.shape());
    Tensor own = ownPart(copy);
    engine.copy(part, own);
    engine.synchronize(part.device());
    return new Copied(communicator.allGather(own, copy), List.of(copy), copy, whole);
  }

  /**
   * Every rank gets what the others have for it, rank after rank.
   *
   * @param input elements for rank 0, for rank 1 and so on
   * @param inputCounts [ranks] of them
   * @param output elements of rank 0, of rank 1 and so on
   * @param outputCounts [ranks] of them
   */
  public Pending allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    if (communicator.size() == 1) {
      engine.copy(input, output);
      return DONE;
    }
    engine.synchronize(input.device());
    if (communicator.reads(input.device())) {
      return new Direct(communicator.allToAll(input, inputCounts, output, outputCounts));
    }
    Tensor sent = copy(input);
    Tensor received = host.allocate(output.dtype(), output.shape());
    Work work = communicator.allToAll(sent, inputCounts, received, outputCounts);
    return new Copied(work, List.of(sent, received), received, output);
  }

  /** Sends and receives between some ranks, all tensors on one device. */
  public Pending exchange(List<PointToPoint> transfers) {
    if (transfers.isEmpty()) {
      return DONE;
    }
    Device device = transfers.get(0).tensor().device();
    engine.synchronize(device);
    if (communicator.reads(device)) {
      return new Direct(communicator.exchange(transfers));
    }
    List<PointToPoint> onHost = transfers.stream().map(this::onHost).toList();
    engine.synchronize(device);
    return new CopiedExchange(communicator.exchange(onHost), transfers, onHost);
  }

  private PointToPoint onHost(PointToPoint transfer) {
    if (transfer instanceof PointToPoint.Send send) {
      Tensor copy = host.allocate(send.tensor().dtype(), send.tensor().shape());
      engine.copy(send.tensor(), copy);
      return new PointToPoint.Send(copy, send.peer(), send.tag());
    }
    Tensor received = transfer.tensor();
    return new PointToPoint.Receive(
        host.allocate(received.dtype(), received.shape()), transfer.peer(), transfer.tag());
  }

  private Tensor ownPart(Tensor whole) {
    long count = whole.elementCount() / communicator.size();
    return whole.slice(0, communicator.rank() * count, count);
  }

  /** A tensor of the host with the same elements; whoever asks for it closes it. */
  public Tensor copy(Tensor tensor) {
    Tensor copy = host.allocate(tensor.dtype(), tensor.shape());
    engine.copy(tensor, copy);
    engine.synchronize(tensor.device());
    return copy;
  }

  private void copyWhereApart(Tensor from, Tensor to) {
    if (from.storage() != to.storage() || from.offset() != to.offset()) {
      engine.copy(from, to);
    }
  }

  private record Direct(Work work) implements Pending {
    @Override
    public void await() throws InterruptedException {
      work.await();
    }

    @Override
    public boolean isDone() {
      return work.isDone();
    }
  }

  /** What was received is brought back to the device by whoever awaits it. */
  private final class CopiedExchange implements Pending {
    private final Work work;
    private final List<PointToPoint> transfers;
    private final List<PointToPoint> onHost;

    CopiedExchange(Work work, List<PointToPoint> transfers, List<PointToPoint> onHost) {
      this.work = work;
      this.transfers = transfers;
      this.onHost = onHost;
    }

    @Override
    public void await() throws InterruptedException {
      work.await();
      for (int i = 0; i < transfers.size(); i++) {
        if (transfers.get(i) instanceof PointToPoint.Receive receive) {
          engine.copy(onHost.get(i).tensor(), receive.tensor());
        }
      }
      engine.synchronize(transfers.get(0).tensor().device());
      onHost.forEach(transfer -> transfer.tensor().close());
    }

    @Override
    public boolean isDone() {
      return work.isDone();
    }
  }

  /** The result is brought back to the device by whoever awaits it. */
  private final class Copied implements Pending {
    private final Work work;
    private final List<Tensor> copies;
    private final Tensor result;
    private final Tensor destination;

    Copied(Work work, List<Tensor> copies, Tensor result, Tensor destination) {
      this.work = work;
      this.copies = copies;
      this.result = result;
      this.destination = destination;
    }

    @Override
    public void await() throws InterruptedException {
      work.await();
      engine.copy(result, destination);
      engine.synchronize(destination.device());
      copies.forEach(Tensor::close);
    }

    @Override
    public boolean isDone() {
      return work.isDone();
    }
  }
}
