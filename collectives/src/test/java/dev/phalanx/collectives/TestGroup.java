package dev.phalanx.collectives;

import static java.util.concurrent.TimeUnit.SECONDS;

import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.status.LocalStatusBoard;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Endpoint;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.grpc.GrpcEndpoint;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

/** The ranks of a group as threads of this JVM, over any transport. */
final class TestGroup implements AutoCloseable {
  private static final String HOST = SharedMemoryEndpoint.hostIdentity().orElseThrow();

  /** What moves the bytes. */
  enum Network {
    IN_PROCESS,
    SHARED_MEMORY,
    TCP,
    TCP_STREAMS,
    GRPC,
    GRPC_WITH_TLS,
    MIXED
  }

  /** One rank's part of a test. */
  interface RankBody<T> {
    T run(Communicator communicator) throws Exception;
  }

  /** Of TCP_STREAMS; a number that neither pieces nor ranks are a multiple of as a rule. */
  private static final int STREAMS = 3;

  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** Of each rank; enough for several steps of the largest tensors that tests have there. */
  private static final int SHARED_BYTES = 8 << 20;

  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final List<Endpoint> endpoints = new ArrayList<>();
  private final List<Communicator> communicators = new ArrayList<>();
  private final List<HostTensors.Memory> memories = new ArrayList<>();
  private final int pieceBytes;

  TestGroup(Network network, int size, Duration timeout) throws Exception {
    this(network, size, GroupOptions.withTimeout(timeout));
  }

  TestGroup(Network network, int size, GroupOptions options) throws Exception {
    LocalStatusBoard board = new LocalStatusBoard();
    List<Transport> transports = transports(network, size, options.timeout());
    this.pieceBytes = transports.get(0).topology().pieceBytes();
    for (int rank = 0; rank < size; rank++) {
      communicators.add(
          new QueuedCommunicator(
              GroupMembers.world("test", rank, size), transports.get(rank), options, board));
    }
  }

  /** From now on {@link #memory} is what all ranks can read, where the network has such. */
  TestGroup share() throws Exception {
    memories.addAll(run(TestGroup::shared));
    return this;
  }

  /**
   * What does not fit lies in memory of the rank's own, and so does one tensor in seven, each
   * rank's another.
   */
  private static HostTensors.Memory shared(Communicator communicator) throws InterruptedException {
    Optional<Storage> block =
        communicator.allocateShared(SHARED_BYTES, bytes -> HostTensors.storage(bytes));
    AtomicInteger taken = new AtomicInteger();
    AtomicInteger tensors = new AtomicInteger();
    return (dtype, count) -> {
      int bytes = count * dtype.byteSize();
      int start = (taken.get() + 7) / 8 * 8;
      boolean isPrivate = (tensors.getAndIncrement() + communicator.rank()) % 7 == 6;
      if (block.isEmpty() || isPrivate || start + bytes > SHARED_BYTES) {
        return HostTensors.Memory.PRIVATE.allocate(dtype, count);
      }
      taken.set(start + bytes);
      return Tensor.over(block.get(), start, dtype, Shape.of(count));
    };
  }

  /** Where a rank's tensors lie: its own memory, unless the ranks {@link #share}. */
  HostTensors.Memory memory(int rank) {
    return memories.isEmpty() ? HostTensors.Memory.PRIVATE : memories.get(rank);
  }

  private List<Transport> transports(Network network, int size, Duration timeout) throws Exception {
    return switch (network) {
      case IN_PROCESS -> inProcess(size);
      case SHARED_MEMORY -> sharedMemory(size);
      case TCP -> tcp(1, size, timeout);
      case TCP_STREAMS -> tcp(STREAMS, size, timeout);
      case GRPC -> grpc(Encryption.NONE, size, timeout);
      case GRPC_WITH_TLS -> grpc(Encryption.TLS, size, timeout);
      case MIXED -> mixed(size, timeout);
    };
  }

  private List<Transport> sharedMemory(int size) throws Exception {
    JobToken token = JobToken.random();
    List<SharedMemoryEndpoint> inboxes = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      inboxes.add(SharedMemoryEndpoint.create(token, GroupId.WORLD, rank, size, HOST));
    }
    Topology topology =
        Topology.ofOneHost(
            "shm", size, SharedMemoryEndpoint.COST, SharedMemoryEndpoint.pieceBytes(size, HOST));
    List<Future<Transport>> futures = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      int own = rank;
      SharedMemoryEndpoint inbox = inboxes.get(rank);
      futures.add(
          threads.submit(
              () ->
                  new Transport(
                      own,
                      topology,
                      inbox.connect(
                          Deadline.after(PATIENCE),
                          new SharedMemoryEndpoint.Peers(
                              "rank " + own, peer -> peer, peer -> Optional.empty())),
                      Optional.of(inbox.blocks()))));
    }
    List<Transport> transports = new ArrayList<>();
    for (Future<Transport> future : futures) {
      transports.add(future.get(PATIENCE.toSeconds(), SECONDS));
    }
    return transports;
  }

  private static List<Transport> inProcess(int size) {
    InProcessNetwork network = new InProcessNetwork(size);
    List<Transport> transports = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      transports.add(network.transport(rank));
    }
    return transports;
  }

  private interface Listening {
    Endpoint listen(JobToken token, int rank) throws IOException;
  }

  private static List<Transport> connected(Topology topology, List<List<Link>> linksByRank) {
    List<Transport> transports = new ArrayList<>();
    for (List<Link> links : linksByRank) {
      transports.add(new Transport(transports.size(), topology, links));
    }
    return transports;
  }

  private List<List<Link>> links(Listening listening, int size, Duration timeout)
      throws IOException {
    JobToken token = JobToken.random();
    List<InetSocketAddress> members = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      Endpoint endpoint = listening.listen(token, rank);
      endpoints.add(endpoint);
      members.add(endpoint.address());
    }
    List<List<Link>> all = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      all.add(endpoints.get(rank).links(GroupId.WORLD, rank, members, timeout));
    }
    return all;
  }

  /**
   * Ranks of even and of odd numbers on a host each, with threads' links within and TCP between.
   */
  private List<Transport> mixed(int size, Duration timeout) throws Exception {
    List<Integer> hosts = IntStream.range(0, size).mapToObj(rank -> rank % 2).toList();
    InProcessNetwork network = new InProcessNetwork(size);
    Topology topology =
        new Topology(
            "mixed",
            hosts,
            SharedMemoryEndpoint.COST,
            TcpEndpoint.COST,
            SharedMemoryEndpoint.pieceBytes(size, HOST));
    List<Transport> transports = new ArrayList<>();
    for (List<Link> far : links((token, rank) -> endpoint(token, rank, 1), size, timeout)) {
      int rank = transports.size();
      List<Link> near = network.links(rank);
      List<Link> links = new ArrayList<>();
      for (int peer = 0; peer < size; peer++) {
        boolean isNear = hosts.get(peer).equals(hosts.get(rank));
        links.add((isNear ? near : far).get(peer));
      }
      transports.add(new Transport(rank, topology, links));
    }
    return transports;
  }

  private List<Transport> tcp(int streams, int size, Duration timeout) throws IOException {
    return connected(
        Topology.ofOneHost("tcp", size, TcpEndpoint.COST, TcpEndpoint.PIECE_BYTES),
        links((token, rank) -> endpoint(token, rank, streams), size, timeout));
  }

  static TcpEndpoint endpoint(JobToken token, int rank, int streams) throws IOException {
    return TcpEndpoint.listen(InetAddress.getLoopbackAddress(), token, "test-tcp-" + rank, streams);
  }

  private List<Transport> grpc(Encryption encryption, int size, Duration timeout)
      throws IOException {
    return connected(
        Topology.ofOneHost("grpc", size, GrpcEndpoint.COST, GrpcEndpoint.PIECE_BYTES),
        links(
            (token, rank) ->
                GrpcEndpoint.listen(
                    InetAddress.getLoopbackAddress(),
                    Credentials.of(token, encryption),
                    "test-grpc-" + rank),
            size,
            timeout));
  }

  /** What an operation fails with. */
  static CollectiveException failureOf(Work work) throws InterruptedException {
    try {
      work.await();
    } catch (CollectiveException e) {
      return e;
    }
    throw new AssertionError("the operation succeeded");
  }

  /** The longest payload of a message. */
  int pieceBytes() {
    return pieceBytes;
  }

  Communicator communicator(int rank) {
    return communicators.get(rank);
  }

  /** Runs every rank on a thread of its own and gives the results in order. */
  <T> List<T> run(RankBody<T> body) throws Exception {
    return run(body, PATIENCE);
  }

  /** {@link #run(RankBody)} of what takes longer. */
  <T> List<T> run(RankBody<T> body, Duration patience) throws Exception {
    List<Future<T>> futures = new ArrayList<>();
    for (Communicator communicator : communicators) {
      futures.add(threads.submit(() -> body.run(communicator)));
    }
    List<T> results = new ArrayList<>();
    for (Future<T> future : futures) {
      results.add(future.get(patience.toSeconds(), SECONDS));
    }
    return results;
  }

  @Override
  public void close() {
    communicators.forEach(Communicator::close);
    endpoints.forEach(Endpoint::close);
    threads.shutdownNow();
  }
}
