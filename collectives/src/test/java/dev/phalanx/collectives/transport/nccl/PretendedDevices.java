package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * GPUs and an NCCL that are none, so that everything above NCCL's calls is tested on any machine.
 * They keep NCCL's rules, and complain where somebody does not:
 *
 * <ul>
 *   <li>what is begun is on the stream only after some {@code isSettled}, and nothing else may be
 *       called before;
 *   <li>a stream's commands run in order, a collective when all ranks have come to it, a group's
 *       sends when the peer has come to the receives: the first meets the first, no tags;
 *   <li>ranks that do not fit together hang for ever;
 *   <li>all calls of a rank come from one thread.
 * </ul>
 *
 * <p>All devices' memory is one block at addresses that the host cannot follow. Elements are INT32.
 */
final class PretendedDevices {
  private static final long BASE = 0x7f00_0000_0000L;
  private static final int BYTES = 1 << 16;
  private static final int CALLS_UNTIL_SETTLED = 3;

  private enum Kind {
    ALL_REDUCE,
    REDUCE,
    REDUCE_SCATTER,
    ALL_GATHER,
    BROADCAST,
    SEND,
    RECEIVE,
    COPY
  }

  /** One call; {@code parameter} is the reduction. */
  private record Command(Kind kind, long from, long to, long count, int parameter, int partner) {
    boolean isCollective() {
      return kind.compareTo(Kind.BROADCAST) <= 0;
    }

    /** What NCCL does not check, but needs. */
    boolean fits(Command other) {
      return kind == other.kind
          && count == other.count
          && parameter == other.parameter
          && partner == other.partner;
    }
  }

  private final ByteBuffer memory = ByteBuffer.allocate(BYTES).order(ByteOrder.nativeOrder());
  private int used;
  private final List<Rank> ranks = new ArrayList<>();

  PretendedDevices(int size) {
    for (int rank = 0; rank < size; rank++) {
      ranks.add(new Rank(rank));
    }
  }

  /** That rank's own NCCL. */
  Rank nccl(int rank) {
    return ranks.get(rank);
  }

  static Device device(int rank) {
    return new Device(Device.Kind.CUDA, rank);
  }

  synchronized Tensor tensor(int rank, int... values) {
    long address = allocate(4 * values.length);
    Tensor tensor =
        Tensor.over(
            new Block(device(rank), address, 4L * values.length),
            0,
            DType.INT32,
            Shape.of(values.length));
    for (int i = 0; i < values.length; i++) {
      memory.putInt(index(address) + 4 * i, values[i]);
    }
    return tensor;
  }

  private long allocate(int bytes) {
    long address = BASE + used;
    used += bytes;
    return address;
  }

  synchronized int[] values(Tensor tensor) {
    return read(tensor.address(), tensor.elementCount());
  }

  private int[] read(long address, long count) {
    int[] values = new int[(int) count];
    for (int i = 0; i < values.length; i++) {
      values[i] = memory.getInt(index(address) + 4 * i);
    }
    return values;
  }

  private void write(long address, int[] values) {
    for (int i = 0; i < values.length; i++) {
      memory.putInt(index(address) + 4 * i, values[i]);
    }
  }

  private static int index(long address) {
    return Math.toIntExact(address - BASE);
  }

  /** Runs whatever can run. */
  private void advance() {
    boolean hasMoved = true;
    while (hasMoved) {
      hasMoved = runCollective();
      for (Rank rank : ranks) {
        hasMoved |= rank.runAlone();
        rank.dropDoneGroups();
      }
    }
  }

  private boolean runCollective() {
    List<Command> calls = new ArrayList<>();
    for (Rank rank : ranks) {
      Command next = rank.first(Command::isCollective);
      if (next == null || (!calls.isEmpty() && !next.fits(calls.get(0)))) {
        return false;
      }
      calls.add(next);
    }
    run(calls);
    for (int rank = 0; rank < calls.size(); rank++) {
      ranks.get(rank).remove(calls.get(rank));
    }
    return true;
  }

  private void run(List<Command> calls) {
    Command any = calls.get(0);
    int size = calls.size();
    int count = (int) any.count();
    switch (any.kind()) {
      case ALL_REDUCE -> {
        int[] result = reduced(calls, count);
        calls.forEach(call -> write(call.to(), result));
      }
      case REDUCE -> write(calls.get(any.partner()).to(), reduced(calls, count));
      case REDUCE_SCATTER -> {
        int[] result = reduced(calls, count * size);
        for (int rank = 0; rank < size; rank++) {
          int[] part = Arrays.copyOfRange(result, rank * count, (rank + 1) * count);
          write(calls.get(rank).to(), part);
        }
      }
      case ALL_GATHER -> {
        List<int[]> parts = calls.stream().map(call -> read(call.from(), count)).toList();
        for (Command call : calls) {
          for (int rank = 0; rank < size; rank++) {
            write(call.to() + 4L * rank * count, parts.get(rank));
          }
        }
      }
      case BROADCAST -> {
        int[] values = read(calls.get(any.partner()).from(), count);
        calls.forEach(call -> write(call.to(), values));
      }
      case SEND, RECEIVE, COPY -> throw new AssertionError("no collective");
    }
  }

  private int[] reduced(List<Command> calls, int count) {
    int[] result = read(calls.get(0).from(), count);
    for (Command call : calls.subList(1, calls.size())) {
      int[] values = read(call.from(), count);
      for (int i = 0; i < count; i++) {
        result[i] = reduce(call.parameter(), result[i], values[i]);
      }
    }
    if (calls.get(0).parameter() == NcclConstants.reduction(ReduceOperation.AVERAGE)) {
      for (int i = 0; i < count; i++) {
        result[i] /= calls.size();
      }
    }
    return result;
  }

  private static int reduce(int reduction, int first, int second) {
    return switch (reduction) {
      case 0, 4 -> first + second;
      case 2 -> Math.max(first, second);
      case 3 -> Math.min(first, second);
      default -> throw new AssertionError("no reduction " + reduction);
    };
  }

  /** One rank's NCCL. */
  final class Rank implements Nccl {
    private final int rank;

    /** Groups in the stream's order; what runs is taken out of them. A single call is a group. */
    private final Deque<List<Command>> stream = new ArrayDeque<>();

    private final List<Long> marks = new ArrayList<>(); // groups before the mark
    private final BitSet freeMarks = new BitSet();
    private long groupsCalled;
    private long groupsDone;
    private @Nullable List<Command> group;
    private int callsUntilSettled;
    private boolean isJoining;
    private boolean hasJoined;
    private boolean isLeaving;
    private boolean isFreed;
    private boolean isAborted;
    private @Nullable String error;
    private @Nullable Thread owner;

    Rank(int rank) {
      this.rank = rank;
    }

    /** From now on NCCL reports this. */
    void breakDown(String reason) {
      synchronized (PretendedDevices.this) {
        error = reason;
      }
    }

    boolean isAborted() {
      synchronized (PretendedDevices.this) {
        return isAborted;
      }
    }

    /** Freed after a leave in peace. */
    boolean isFreed() {
      synchronized (PretendedDevices.this) {
        return isFreed;
      }
    }

    /** Returns when something is on the stream that cannot run yet. */
    void awaitUnderWay() throws InterruptedException {
      synchronized (PretendedDevices.this) {
        long end = System.nanoTime() + NcclGroup.PATIENCE.toNanos();
        while (stream.isEmpty()) {
          require(System.nanoTime() < end, "operations reach the stream");
          PretendedDevices.this.wait(100);
        }
      }
    }

    int marksMade() {
      synchronized (PretendedDevices.this) {
        return marks.size();
      }
    }

    @Override
    public void newGroupId(byte[] id) {
      Arrays.fill(id, (byte) 7);
    }

    @Override
    public void join(int size, byte[] id, int ownRank) {
      synchronized (PretendedDevices.this) {
        require(size == ranks.size() && ownRank == rank, "the ranks' numbers are right");
        require(id.length == 128 && id[0] == 7 && id[127] == 7, "rank 0's identifier has come");
        owner = Thread.currentThread();
        isJoining = true;
        begun();
      }
    }

    @Override
    public boolean isSettled() {
      synchronized (PretendedDevices.this) {
        requireOwner();
        if (error != null) {
          throw new NcclError(error);
        }
        if (callsUntilSettled > 0) {
          callsUntilSettled--;
        }
        if (!hasJoined && ranks.stream().allMatch(other -> other.isJoining)) {
          hasJoined = true;
        }
        return hasJoined && callsUntilSettled == 0;
      }
    }

    private void begun() {
      callsUntilSettled = CALLS_UNTIL_SETTLED;
    }

    private void requireOwner() {
      require(Thread.currentThread() == owner, "one thread calls");
      require(!isAborted && !isFreed, "nothing is called after the end");
    }

    private void require(boolean isSo, String rule) {
      if (!isSo) {
        throw new AssertionError("rank " + rank + " broke the rule that " + rule);
      }
    }

    private void call(Command command) {
      synchronized (PretendedDevices.this) {
        requireOwner();
        require(hasJoined && callsUntilSettled == 0, "calls come when the last one has settled");
        require(command.count() > 0, "nothing is asked for no elements");
        List<Command> open = group;
        if (open != null) {
          open.add(command);
        } else {
          require(
              command.isCollective() || command.kind() == Kind.COPY, "transfers come in groups");
          enqueue(new ArrayList<>(List.of(command)));
          if (command.kind() != Kind.COPY) {
            begun();
          }
        }
      }
    }

    /** With the lock. */
    private void enqueue(List<Command> commands) {
      stream.add(commands);
      groupsCalled++;
      PretendedDevices.this.notifyAll();
    }

    @Override
    public void allReduce(long address, long count, int type, int reduction) {
      requireInt32(type);
      call(new Command(Kind.ALL_REDUCE, address, address, count, reduction, -1));
    }

    @Override
    public void reduce(long address, long count, int type, int reduction, int root) {
      requireInt32(type);
      call(new Command(Kind.REDUCE, address, address, count, reduction, root));
    }

    @Override
    public void reduceScatter(long input, long output, long count, int type, int reduction) {
      requireInt32(type);
      call(new Command(Kind.REDUCE_SCATTER, input, output, count, reduction, -1));
    }

    @Override
    public void allGather(long input, long output, long count, int type) {
      requireInt32(type);
      call(new Command(Kind.ALL_GATHER, input, output, count, -1, -1));
    }

    @Override
    public void broadcast(long input, long output, long count, int type, int root) {
      requireInt32(type);
      call(new Command(Kind.BROADCAST, input, output, count, -1, root));
    }

    @Override
    public void beginGroup() {
      synchronized (PretendedDevices.this) {
        requireOwner();
        require(group == null, "groups are not nested");
        group = new ArrayList<>();
      }
    }

    @Override
    public void endGroup() {
      synchronized (PretendedDevices.this) {
        enqueue(Objects.requireNonNull(group));
        group = null;
        begun();
      }
    }

    @Override
    public void send(long address, long count, int type, int peer) {
      requireInt32(type);
      call(new Command(Kind.SEND, address, address, count, -1, peer));
    }

    @Override
    public void receive(long address, long count, int type, int peer) {
      requireInt32(type);
      call(new Command(Kind.RECEIVE, address, address, count, -1, peer));
    }

    @Override
    public void copy(long from, long to, long bytes) {
      require(bytes % 4 == 0, "elements are copied");
      call(new Command(Kind.COPY, from, to, bytes / 4, -1, -1));
    }

    private void requireInt32(int type) {
      require(type == NcclConstants.type(DType.INT32), "elements are INT32 here");
    }

    @Override
    public long scratch() {
      synchronized (PretendedDevices.this) {
        return allocate(4);
      }
    }

    @Override
    public int mark() {
      synchronized (PretendedDevices.this) {
        requireOwner();
        require(hasJoined && callsUntilSettled == 0, "marks come when the last call has settled");
        int mark = freeMarks.nextSetBit(0);
        if (mark < 0) {
          marks.add(groupsCalled);
          return marks.size() - 1;
        }
        freeMarks.clear(mark);
        marks.set(mark, groupsCalled);
        return mark;
      }
    }

    @Override
    public boolean hasPassed(int mark) {
      synchronized (PretendedDevices.this) {
        requireOwner();
        advance();
        boolean hasPassed = groupsDone >= marks.get(mark);
        if (hasPassed) {
          freeMarks.set(mark);
        }
        return hasPassed;
      }
    }

    private interface Filter {
      boolean accepts(Command command);
    }

    /** The first such command of the group whose turn it is. */
    private @Nullable Command first(Filter filter) {
      List<Command> running = stream.peek();
      if (running == null) {
        return null;
      }
      return running.stream().filter(filter::accepts).findFirst().orElse(null);
    }

    private void remove(Command done) {
      Iterator<Command> commands = Objects.requireNonNull(stream.peek()).iterator();
      while (commands.hasNext()) {
        if (commands.next() == done) {
          commands.remove();
          return;
        }
      }
    }

    /** A copy, or a send that meets its receive. */
    private boolean runAlone() {
      Command copy = first(command -> command.kind() == Kind.COPY);
      if (copy != null) {
        write(copy.to(), read(copy.from(), copy.count()));
        remove(copy);
        return true;
      }
      for (Rank peer : ranks) {
        Command send =
            first(command -> command.kind() == Kind.SEND && command.partner() == peer.rank);
        Command receive =
            peer.first(command -> command.kind() == Kind.RECEIVE && command.partner() == rank);
        if (send != null && receive != null && send.count() == receive.count()) {
          write(receive.to(), read(send.from(), send.count()));
          remove(send);
          peer.remove(receive);
          return true;
        }
      }
      return false;
    }

    private void dropDoneGroups() {
      for (List<Command> running = stream.peek();
          running != null && running.isEmpty();
          running = stream.peek()) {
        stream.remove();
        groupsDone++;
      }
    }

    @Override
    public void leave() {
      synchronized (PretendedDevices.this) {
        requireOwner();
        require(stream.isEmpty(), "who leaves has nothing under way");
        isLeaving = true;
        begun();
      }
    }

    @Override
    public void free() {
      synchronized (PretendedDevices.this) {
        requireOwner();
        require(isLeaving && callsUntilSettled == 0, "who frees has left");
        isFreed = true;
      }
    }

    @Override
    public void abort() {
      synchronized (PretendedDevices.this) {
        requireOwner();
        isAborted = true;
        stream.clear();
      }
    }
  }

  private record Block(Device device, long address, long byteSize) implements Storage {
    @Override
    public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
      throw new UnsupportedOperationException("The host cannot address " + device);
    }

    @Override
    public void free() {}
  }
}
