package dev.phalanx.collectives;

import static java.util.concurrent.TimeUnit.SECONDS;

import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import dev.phalanx.collectives.transport.tcp.GroupId;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** The ranks of a group as threads of this JVM, over any transport. */
final class TestGroup implements AutoCloseable {
  /** What moves the bytes. */
  enum Network {
    IN_PROCESS,
    SHARED_MEMORY,
    TCP
  }

  /** One rank's part of a test. */
  interface RankBody<T> {
    T run(Communicator communicator) throws Exception;
  }

  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final List<TcpEndpoint> endpoints = new ArrayList<>();
  private final List<Communicator> communicators = new ArrayList<>();

  TestGroup(Network network, int size, Duration timeout) throws Exception {
    for (Transport transport : transports(network, size)) {
      communicators.add(new QueuedCommunicator("test", transport, timeout));
    }
  }

  private List<Transport> transports(Network network, int size) throws Exception {
    return switch (network) {
      case IN_PROCESS -> inProcess(size);
      case SHARED_MEMORY -> sharedMemory(size);
      case TCP -> tcp(size);
    };
  }

  private List<Transport> sharedMemory(int size) throws Exception {
    JobToken token = JobToken.random();
    List<SharedMemoryEndpoint> inboxes = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      inboxes.add(SharedMemoryEndpoint.create(token, rank, size));
    }
    List<Future<Transport>> futures = new ArrayList<>();
    for (SharedMemoryEndpoint inbox : inboxes) {
      futures.add(threads.submit(() -> inbox.connect(Deadline.after(PATIENCE))));
    }
    return all(futures);
  }

  private static List<Transport> all(List<Future<Transport>> futures) throws Exception {
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

  private List<Transport> tcp(int size) throws Exception {
    JobToken token = JobToken.random();
    List<InetSocketAddress> members = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      TcpEndpoint endpoint = endpoint(token, rank);
      endpoints.add(endpoint);
      members.add(endpoint.address());
    }
    List<Future<Transport>> futures = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      int own = rank;
      futures.add(
          threads.submit(
              () ->
                  endpoints
                      .get(own)
                      .connect(GroupId.WORLD, own, members, Deadline.after(PATIENCE))));
    }
    return all(futures);
  }

  static TcpEndpoint endpoint(JobToken token, int rank) throws IOException {
    return TcpEndpoint.listen(InetAddress.getLoopbackAddress(), token, "test-tcp-" + rank);
  }

  Communicator communicator(int rank) {
    return communicators.get(rank);
  }

  /** Runs every rank on a thread of its own and gives the results in order. */
  <T> List<T> run(RankBody<T> body) throws Exception {
    List<Future<T>> futures = new ArrayList<>();
    for (Communicator communicator : communicators) {
      futures.add(threads.submit(() -> body.run(communicator)));
    }
    List<T> results = new ArrayList<>();
    for (Future<T> future : futures) {
      results.add(future.get(PATIENCE.toSeconds(), SECONDS));
    }
    return results;
  }

  @Override
  public void close() {
    communicators.forEach(Communicator::close);
    endpoints.forEach(TcpEndpoint::close);
    threads.shutdownNow();
  }
}
