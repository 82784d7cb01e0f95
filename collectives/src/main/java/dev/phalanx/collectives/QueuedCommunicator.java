package dev.phalanx.collectives;

import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.collectives.algorithm.BinaryTreeBroadcast;
import dev.phalanx.collectives.algorithm.BinaryTreeReduce;
import dev.phalanx.collectives.algorithm.ChainBroadcast;
import dev.phalanx.collectives.algorithm.ChainReduce;
import dev.phalanx.collectives.algorithm.Copies;
import dev.phalanx.collectives.algorithm.DirectAllGather;
import dev.phalanx.collectives.algorithm.DirectAllReduce;
import dev.phalanx.collectives.algorithm.DirectReduceScatter;
import dev.phalanx.collectives.algorithm.DisseminationBarrier;
import dev.phalanx.collectives.algorithm.DoubleBinaryTreeAllReduce;
import dev.phalanx.collectives.algorithm.Exchange;
import dev.phalanx.collectives.algorithm.HalvingDoublingAllReduce;
import dev.phalanx.collectives.algorithm.HierarchicalAllReduce;
import dev.phalanx.collectives.algorithm.LinearGather;
import dev.phalanx.collectives.algorithm.LinearScatter;
import dev.phalanx.collectives.algorithm.PairwiseAllToAll;
import dev.phalanx.collectives.algorithm.Parts;
import dev.phalanx.collectives.algorithm.RingAllGather;
import dev.phalanx.collectives.algorithm.RingAllReduce;
import dev.phalanx.collectives.algorithm.RingReduceScatter;
import dev.phalanx.collectives.algorithm.Selection;
import dev.phalanx.collectives.algorithm.SharedBlocks;
import dev.phalanx.collectives.algorithm.SharedMemoryAllGather;
import dev.phalanx.collectives.algorithm.SharedMemoryAllReduce;
import dev.phalanx.collectives.algorithm.SharedMemoryReduceScatter;
import dev.phalanx.collectives.algorithm.Transfers;
import dev.phalanx.collectives.algorithm.TwoShotAllReduce;
import dev.phalanx.collectives.status.RankStatus;
import dev.phalanx.collectives.status.StatusBoard;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.ReceiveTimeoutException;
import dev.phalanx.collectives.transport.SharedMemory;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The communicator over a {@link Transport}: calls are put into a queue, and a daemon thread runs
 * them, or a thread that waits for one of them. In a group of one rank every operation is done when
 * its call returns, and there is no thread.
 *
 * <p>The first failure ends the communicator: it is told to the peers, and every operation that
 * waits or comes later fails with it.
 */
public final class QueuedCommunicator implements Communicator {
  private static final Logger LOGGER = LoggerFactory.getLogger(QueuedCommunicator.class);
  private static final long CLOSE_MILLIS = 2000;

  /** How long an operation that nobody waits for may stay in the queue; see {@link #idle}. */
  private static final long NAP_NANOS = 500_000;

  /** More cannot be mapped in one piece. */
  private static final long LARGEST_SHARED = Integer.MAX_VALUE - 4096;

  /** The records are written to the log once in this time. */
  private static final long RECORDS_NANOS = TimeUnit.SECONDS.toNanos(5);

  /** After a call the thread naps for this long instead of sleeping. */
  private static final long ACTIVE_NANOS = 50_000_000;

  private final String name;
  private final GroupMembers members;
  private final Transport transport;
  private final Arguments arguments;
  private final Exchange exchange;
  private final Selection selection;
  private final SharedBlocks shared = new SharedBlocks();
  private final FlightRecorder recorder = new FlightRecorder();
  private final StatusBoard board;
  private final StatusBoard.Member member = new BoardMember();
  private final AtomicLong lastRecordsNanos = new AtomicLong(System.nanoTime() - RECORDS_NANOS);
  private final Queue<QueuedWork> queue = new ConcurrentLinkedQueue<>();
  private final ReentrantLock running = new ReentrantLock(); // whoever runs operations holds it
  private final AtomicReference<@Nullable CollectiveException> failure = new AtomicReference<>();
  private final @Nullable Thread thread;
  private final Object helping = new Object();
  private @Nullable Thread helper; // guarded by helping
  private volatile boolean isHelperInterrupted;
  private volatile boolean isAsleep;
  private volatile long lastSubmitNanos = System.nanoTime();
  private long sequence;
  private boolean isClosed;

  /**
   * @param transport closed together with the communicator
   * @param board tells where the others are, when one keeps the group waiting
   */
  public QueuedCommunicator(
      GroupMembers members, Transport transport, GroupOptions options, StatusBoard board) {
    this.name = members.name();
    this.members = members;
    this.transport = transport;
    this.board = board;
    this.arguments =
        new Arguments(name, transport.rank(), transport.size(), "in host memory", this::reads);
    this.exchange = new Exchange(transport, options.timeout(), members::inTheJob);
    this.selection = new Selection(options.algorithm(), transport.topology());
    board.join(member);
    if (transport.size() == 1) {
      this.thread = null;
    } else {
      Thread started =
          new Thread(this::runQueue, name + "-rank-" + transport.rank() + "-communication");
      started.setDaemon(true);
      started.start();
      this.thread = started;
    }
  }

  @Override
  public String transport() {
    return transport.topology().name();
  }

  @Override
  public boolean reads(Device device) {
    return device.isCpu();
  }

  @Override
  public int rank() {
    return transport.rank();
  }

  @Override
  public int size() {
    return transport.size();
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public Work allReduce(Tensor tensor, ReduceOperation operation) {
    arguments.requireUsable(tensor);
    return submit(
        call(Operation.ALL_REDUCE, tensor, operation, -1),
        () -> runAllReduce(tensor, operation),
        () -> {});
  }

  private void runAllReduce(Tensor tensor, ReduceOperation operation) throws InterruptedException {
    long bytes = tensor.byteSize();
    if (mayShare(bytes) && SharedMemoryAllReduce.run(exchange, shared, tensor, operation)) {
      return;
    }
    switch (selection.allReduce(bytes)) {
      case TREE -> DoubleBinaryTreeAllReduce.run(exchange, tensor, operation);
      case HALVING_DOUBLING -> HalvingDoublingAllReduce.run(exchange, tensor, operation);
      case DIRECT -> {
        if (selection.isInTwoSteps(bytes)) {
          TwoShotAllReduce.run(exchange, tensor, operation);
        } else {
          DirectAllReduce.run(exchange, tensor, operation);
        }
      }
      case HIERARCHICAL -> HierarchicalAllReduce.run(exchange, tensor, operation);
      case AUTO, RING -> RingAllReduce.run(exchange, tensor, operation);
    }
  }

  private boolean mayShare(long bytes) {
    return shared.count() > 0 && selection.isForSharedMemory(bytes);
  }

  @Override
  public Work reduce(Tensor tensor, ReduceOperation operation, int root) {
    arguments.requireUsable(tensor);
    arguments.requireRoot(root);
    return submit(
        call(Operation.REDUCE, tensor, operation, root),
        () -> {
          if (selection.toOrFromRoot(tensor.byteSize()) == Algorithm.TREE) {
            BinaryTreeReduce.run(exchange, tensor, operation, root);
          } else {
            ChainReduce.run(exchange, tensor, operation, root);
          }
        },
        () -> {});
  }

  @Override
  public Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation) {
    arguments.requireParts(input, output);
    return submit(
        call(Operation.REDUCE_SCATTER, input, operation, -1),
        () -> runReduceScatter(input, output, operation),
        () -> Copies.copy(input, output));
  }

  private void runReduceScatter(Tensor input, Tensor output, ReduceOperation operation)
      throws InterruptedException {
    if (mayShare(input.byteSize())
        && SharedMemoryReduceScatter.run(exchange, shared, input, output, operation)) {
      return;
    }
    if (selection.reduceScatter(input.byteSize()) == Algorithm.DIRECT) {
      DirectReduceScatter.run(exchange, input, output, operation);
    } else {
      RingReduceScatter.run(exchange, input, output, operation);
    }
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    arguments.requireParts(output, input);
    return allGather(input, output, Parts.equal(size(), output.elementCount()), 0);
  }

  @Override
  public Work allGather(Tensor input, Tensor output, long[] counts) {
    long[] checked = arguments.requireUnequalParts(input, output, counts);
    return allGather(input, output, Parts.of(checked), Arrays.hashCode(checked));
  }

  /**
   * @param tag tells by the first message that ranks divide the output differently: pieces of equal
   *     length would not
   */
  private Work allGather(Tensor input, Tensor output, Parts parts, int tag) {
    return submit(
        call(Operation.ALL_GATHER, output, null, -1).withTag(tag),
        () -> runAllGather(input, output, parts),
        () -> Copies.copy(input, output));
  }

  private void runAllGather(Tensor input, Tensor output, Parts parts) throws InterruptedException {
    if (mayShare(output.byteSize())
        && SharedMemoryAllGather.run(exchange, shared, input, output, parts)) {
      return;
    }
    if (selection.allGather(output.byteSize()) == Algorithm.DIRECT) {
      DirectAllGather.run(exchange, input, output, parts);
    } else {
      RingAllGather.run(exchange, input, output, parts);
    }
  }

  @Override
  public Work gather(Tensor input, @Nullable Tensor output, int root) {
    Tensor gathered = arguments.requireWholeOnRoot(output, input, root);
    Parts parts = Parts.equal(size(), input.elementCount() * size());
    return submit(
        call(Operation.GATHER, input, null, root),
        () -> LinearGather.run(exchange, input, gathered, parts, root),
        () -> copyWhole(input, gathered));
  }

  @Override
  public Work scatter(@Nullable Tensor input, Tensor output, int root) {
    Tensor whole = arguments.requireWholeOnRoot(input, output, root);
    Parts parts = Parts.equal(size(), output.elementCount() * size());
    return submit(
        call(Operation.SCATTER, output, null, root),
        () -> LinearScatter.run(exchange, whole, output, parts, root),
        () -> copyWhole(whole, output));
  }

  private static void copyWhole(@Nullable Tensor from, @Nullable Tensor into) {
    if (from != null && into != null) {
      Copies.copy(from, into);
    }
  }

  @Override
  public Work broadcast(Tensor tensor, int root) {
    arguments.requireUsable(tensor);
    arguments.requireRoot(root);
    return submit(
        call(Operation.BROADCAST, tensor, null, root),
        () -> {
          if (selection.toOrFromRoot(tensor.byteSize()) == Algorithm.TREE) {
            BinaryTreeBroadcast.run(exchange, tensor, root);
          } else {
            ChainBroadcast.run(exchange, tensor, root);
          }
        },
        () -> {});
  }

  @Override
  public Work allToAll(Tensor input, Tensor output) {
    long[] counts = arguments.requireEqualCounts(input);
    return allToAll(input, counts, output, counts, input.elementCount());
  }

  @Override
  public Work allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    // The ranks' counts differ; those of two ranks for each other are on their messages.
    return allToAll(input, inputCounts, output, outputCounts, Call.UNEQUAL);
  }

  private Work allToAll(
      Tensor input, long[] inputCounts, Tensor output, long[] outputCounts, long elements) {
    Arguments.Exchanged counts =
        arguments.requireExchanged(input, inputCounts, output, outputCounts);
    Parts sends = Parts.of(counts.sends());
    Parts receives = Parts.of(counts.receives());
    return submit(
        new Call(sequence++, Operation.ALL_TO_ALL, input.dtype(), null, -1, elements),
        () -> PairwiseAllToAll.run(exchange, input, sends, output, receives),
        () -> Copies.copy(input, output));
  }

  @Override
  public Work send(Tensor tensor, int peer, int tag) {
    return exchange(List.of(new PointToPoint.Send(tensor, peer, tag)));
  }

  @Override
  public Work receive(Tensor tensor, int peer, int tag) {
    return exchange(List.of(new PointToPoint.Receive(tensor, peer, tag)));
  }

  @Override
  public Work exchange(List<PointToPoint> transfers) {
    List<PointToPoint> all = List.copyOf(transfers);
    arguments.requireTransfers(all);
    Call call =
        all.isEmpty()
            ? Call.transfer(DType.UINT8, 0, 0)
            : Call.transfer(
                all.get(0).tensor().dtype(), all.get(0).tensor().elementCount(), all.get(0).tag());
    return submit(call, () -> Transfers.run(exchange, all), () -> {});
  }

  @Override
  public Work barrier() {
    return submit(
        new Call(sequence++, Operation.BARRIER, null, null, -1, 0),
        () -> DisseminationBarrier.run(exchange),
        () -> {});
  }

  @Override
  public Optional<Storage> allocateShared(long bytes, Function<ByteBuffer, Storage> wrap)
      throws InterruptedException {
    CollectiveException failed = failure.get();
    if (failed != null) { // before anything is made that nobody would take from sight
      throw EventualWork.forCaller(failed);
    }
    Optional<SharedMemory> memory = transport.sharedMemory();
    if (memory.isEmpty() || thread == null) {
      return Optional.empty();
    }
    int number = shared.count();
    try {
      return shareBlock(memory.get(), number, bytes, wrap);
    } finally {
      memory.get().hide(number); // also where a rank is lost before all have attached
    }
  }

  private Optional<Storage> shareBlock(
      SharedMemory memory, int number, long bytes, Function<ByteBuffer, Storage> wrap)
      throws InterruptedException {
    Optional<ByteBuffer> own =
        bytes > 0 && bytes <= LARGEST_SHARED
            ? tryShare(() -> memory.create(number, (int) bytes))
            : Optional.empty();
    if (!allHaveCreated(bytes, own.isPresent()) || own.isEmpty()) {
      return Optional.empty();
    }
    List<ByteBuffer> byRank = new ArrayList<>();
    for (int peer = 0; peer < size(); peer++) {
      int from = peer;
      Optional<ByteBuffer> block =
          peer == rank() ? own : tryShare(() -> memory.attach(from, number, (int) bytes));
      block.ifPresent(byRank::add);
    }
    if (!allAgree(byRank.size() == size())) {
      return Optional.empty();
    }
    Storage storage = wrap.apply(own.get());
    shared.add(storage, byRank);
    return Optional.of(storage);
  }

  private interface Sharing {
    ByteBuffer share() throws IOException;
  }

  private Optional<ByteBuffer> tryShare(Sharing sharing) {
    try {
      return Optional.of(sharing.share());
    } catch (IOException e) {
      LOGGER.warn("{} in group {}: {}", members.self(), name, e.getMessage());
      return Optional.empty();
    }
  }

  /**
   * @throws CollectiveMismatchException on all ranks, where they want different numbers of bytes
   */
  private boolean allHaveCreated(long bytes, boolean hasCreated) throws InterruptedException {
    Tensor all = BufferStorage.longs(2 * size());
    ByteBuffer told = all.byteBuffer(0, 2 * size() * Long.BYTES);
    told.putLong(2 * rank() * Long.BYTES, bytes);
    told.putLong((2 * rank() + 1) * Long.BYTES, hasCreated ? 1 : 0);
    allGather(all.slice(0, 2L * rank(), 2), all).await();
    boolean allHave = true;
    for (int peer = 0; peer < size(); peer++) {
      long theirs = told.getLong();
      if (theirs != bytes) {
        throw new CollectiveMismatchException(
            ("%s in group %s: this rank wants %d bytes of shared memory but rank %d wants"
                    + " %d. Every rank must want as much.")
                .formatted(members.self(), name, bytes, members.inTheJob(peer), theirs));
      }
      allHave &= told.getLong() == 1;
    }
    return allHave;
  }

  private boolean allAgree(boolean own) throws InterruptedException {
    Tensor vote = BufferStorage.integers(1);
    ByteBuffer value = vote.byteBuffer(0, Integer.BYTES);
    value.putInt(0, own ? 1 : 0);
    allReduce(vote, ReduceOperation.MINIMUM).await();
    return value.getInt(0) == 1;
  }

  private Call call(
      Operation operation, Tensor tensor, @Nullable ReduceOperation reduction, int root) {
    return new Call(sequence++, operation, tensor.dtype(), reduction, root, tensor.elementCount());
  }

  /**
   * @param alone what the operation comes to in a group of one
   */
  private Work submit(Call call, QueuedWork.Body body, Runnable alone) {
    QueuedWork work =
        new QueuedWork(call, thread == null ? alone::run : body, this::help, this::timedOut);
    if (thread == null) {
      try {
        work.run(() -> {});
      } catch (InterruptedException e) {
        throw new IllegalStateException("An operation of one rank does not wait", e);
      }
      return work;
    }
    queue.add(work);
    lastSubmitNanos = System.nanoTime();
    if (isAsleep) {
      LockSupport.unpark(thread);
    }
    CollectiveException failed = failure.get();
    if (failed != null && queue.remove(work)) { // the thread may have emptied the queue just before
      work.fail(failed);
    }
    return work;
  }

  private void runQueue() {
    try {
      while (failure.get() == null) {
        if (!queue.isEmpty() && running.tryLock()) {
          try {
            while (failure.get() == null && runNext()) {
              // on with the next
            }
          } finally {
            running.unlock();
          }
        }
        idle();
      }
    } catch (InterruptedException e) {
      // The communicator is closed and nothing runs.
    } finally {
      failWaiting(); // whatever ends this thread, nobody waits for it
    }
  }

  /** With the lock held; whether there was an operation. */
  private boolean runNext() {
    QueuedWork work = queue.poll();
    if (work == null) {
      return false;
    }
    try {
      exchange.begin(work.call());
      recorder.begin(work.call());
      work.run(recorder::end);
    } catch (RuntimeException | Error e) {
      failed(work, describe(work.call(), e));
    } catch (InterruptedException e) {
      boolean isOurs = Thread.currentThread() == thread || isHelperInterrupted;
      failed(work, isOurs ? closed(work.call()) : interrupted(work.call()));
      if (!isOurs) {
        Thread.currentThread().interrupt(); // it was meant for the caller, see help
      }
    }
    return true;
  }

  private void failed(QueuedWork work, CollectiveException found) {
    CollectiveException first = fail(found);
    recorder.fail();
    work.fail(first);
  }

  /**
   * Waits for work. Right after an operation the thread only naps: as a rule the next one is run by
   * the thread that waits for it ({@link #help}). Waking this one would take longer than a small
   * operation does, and two threads that take turns are moved about between the cores, where they
   * meet the other ranks' threads.
   */
  private void idle() throws InterruptedException {
    boolean isActive = System.nanoTime() - lastSubmitNanos < ACTIVE_NANOS;
    if (isActive || !queue.isEmpty()) { // not empty: a helper is at it
      LockSupport.parkNanos(this, NAP_NANOS);
    } else {
      isAsleep = true;
      if (queue.isEmpty() && failure.get() == null) {
        LockSupport.park(this);
      }
      isAsleep = false;
    }
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
  }

  /** A thread that waits for an operation runs it, and those before it, if nobody else does. */
  private void help(QueuedWork awaited) throws InterruptedException {
    if (thread == null || awaited.isDone()) {
      return;
    }
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
    if (!running.tryLock()) {
      return;
    }
    synchronized (helping) { // with interruptRunner
      helper = Thread.currentThread();
      isHelperInterrupted = false;
    }
    try {
      while (!awaited.isDone() && failure.get() == null && runNext()) {
        // on with the next
      }
    } finally {
      synchronized (helping) { // an interrupt of ours must not outlive the help
        helper = null;
        if (isHelperInterrupted) {
          Thread.interrupted();
        }
      }
      running.unlock();
    }
    if (failure.get() != null) {
      failWaiting();
      if (Thread.interrupted()) {
        throw new InterruptedException();
      }
    }
  }

  /** Ends the communicator; gives back the failure that came first. */
  private CollectiveException fail(CollectiveException found) {
    if (failure.compareAndSet(null, found)) {
      transport.abort(String.valueOf(found.getMessage()));
    }
    CollectiveException first = failure.get();
    return first == null ? found : first;
  }

  private void failWaiting() {
    CollectiveException failed = failure.get();
    for (QueuedWork work = queue.poll(); work != null; work = queue.poll()) {
      work.fail(failed == null ? closed(work.call()) : failed);
    }
  }

  private CollectiveException timedOut(QueuedWork work, Duration waited) {
    int peer = exchange.awaitedPeer();
    String whom = peer < 0 ? "" : "; it waits for rank " + members.inTheJob(peer) + culprit(peer);
    member.writeRecords();
    CollectiveException first =
        fail(
            new CollectiveTimeoutException(
                where(work.call()) + ": not done within " + Deadline.text(waited) + whom + "."));
    interruptRunner();
    if (!running.isHeldByCurrentThread()) {
      awaitRunner(); // the caller may free the operation's memory next
    }
    return EventualWork.forCaller(first);
  }

  private void interruptRunner() {
    if (thread != null) {
      thread.interrupt();
    }
    synchronized (helping) { // with help
      Thread other = helper;
      if (other != null && other != Thread.currentThread()) {
        isHelperInterrupted = true;
        other.interrupt();
      }
    }
  }

  /** Answers whoever waits for this rank. */
  private final class BoardMember implements StatusBoard.Member {
    @Override
    public RankStatus status() {
      int peer = exchange.awaitedPeer();
      return recorder.status(
          members.title(), members.rank(), peer < 0 ? peer : members.inTheJob(peer));
    }

    @Override
    public void writeRecords() {
      long now = System.nanoTime();
      long last = lastRecordsNanos.get();
      boolean isTime = now - last >= RECORDS_NANOS && lastRecordsNanos.compareAndSet(last, now);
      if (isTime) { // several ranks find out at about the same time
        LOGGER.warn(
            "{} in group {}: the last operations, the newest last:\n  {}",
            members.self(),
            name,
            String.join("\n  ", recorder.lines()));
      }
    }
  }

  /** A clause that names the rank at fault, as far as that can be found out. */
  private String culprit(int awaited) {
    try {
      StatusBoard.Answers answers = board.ask();
      return Culprit.find(
              members.title(),
              members.rank(),
              members.inTheJob(awaited),
              answers.statuses(),
              answers.hasAnswered())
          .map(found -> "; " + found)
          .orElse("");
    } catch (InterruptedException e) {
      Thread.currentThread()
          .interrupt(); // the operation has failed already: no answer is waited for
      return "";
    }
  }

  private CollectiveException describe(Call call, Throwable found) {
    try {
      return explain(call, found);
    } catch (RuntimeException e) { // a failure must end its operation, explained or not
      LOGGER.warn("A failure could not be explained", e);
      return new CollectiveException(where(call) + ": " + found, found);
    }
  }

  /** What a peer said itself are whole sentences. */
  private static String withoutStop(PeerLostException lost) {
    String reason = String.valueOf(lost.getMessage());
    return reason.endsWith(".") ? reason.substring(0, reason.length() - 1) : reason;
  }

  /** Who leaves in the middle of the work as a rule does so because some other rank is lost. */
  private String whyItLeft(PeerLostException lost) {
    return Link.LEFT.equals(lost.getMessage())
        ? board.firstLost().map(first -> ". The first to be lost was " + first).orElse("")
        : "";
  }

  private CollectiveException explain(Call call, Throwable found) {
    if (found instanceof PeerLostException lost) {
      return new CollectiveException(
          where(call)
              + ": rank "
              + members.inTheJob(lost.peer())
              + " "
              + withoutStop(lost)
              + whyItLeft(lost)
              + ". Its own log may tell why; start the job again with --resume.",
          lost);
    }
    if (found instanceof ReceiveTimeoutException late) {
      member.writeRecords();
      CollectiveTimeoutException timeout =
          new CollectiveTimeoutException(
              where(call)
                  + ": nothing was heard of rank "
                  + members.inTheJob(late.peer())
                  + " for "
                  + late.deadline().text()
                  + culprit(late.peer())
                  + ". Look at that rank's log, or raise communication.timeout_s if it is only"
                  + " slow.");
      timeout.initCause(late);
      return timeout;
    }
    if (found instanceof CollectiveMismatchException) {
      CollectiveMismatchException mismatch =
          new CollectiveMismatchException(where(call) + ": " + found.getMessage());
      mismatch.initCause(found);
      return mismatch;
    }
    return new CollectiveException(where(call) + ": " + found, found);
  }

  private CollectiveException interrupted(Call call) {
    return new CollectiveException(
        where(call) + ": the thread that ran it was interrupted on this rank.");
  }

  private CollectiveException closed(Call call) {
    return new CollectiveException(where(call) + ": the communicator was closed on this rank.");
  }

  /** {@code rank 3/8 all_reduce #1204 in group tensor[0]}. */
  private String where(Call call) {
    return members.self() + " " + call.title() + " in group " + name;
  }

  @Override
  public Traffic traffic() {
    return exchange.traffic();
  }

  @Override
  public void close() {
    if (isClosed) {
      return;
    }
    isClosed = true;
    board.leave(member);
    if (thread != null) {
      failure.compareAndSet(
          null,
          new CollectiveException(members.self() + ": the communicator " + name + " is closed."));
      interruptRunner();
      awaitRunner();
    }
    transport.close();
  }

  /**
   * Whoever runs an operation reads and writes memory that is freed next: an interrupt does not end
   * the wait.
   */
  private void awaitRunner() {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(CLOSE_MILLIS);
    boolean isInterrupted = false;
    boolean isDone = false;
    while (!isDone) {
      long left = end - System.nanoTime();
      try {
        isDone = left <= 0 || running.tryLock(left, TimeUnit.NANOSECONDS);
      } catch (InterruptedException e) {
        isInterrupted = true;
      }
    }
    if (running.isHeldByCurrentThread()) {
      running.unlock();
    }
    if (isInterrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
