package dev.phalanx.launcher.worker;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.QueuedCommunicator;
import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.rendezvous.Members;
import dev.phalanx.collectives.rendezvous.Membership;
import dev.phalanx.collectives.rendezvous.RendezvousClient;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import dev.phalanx.collectives.transport.tcp.GroupId;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings a worker's ranks together with all others of the job: in this JVM where it runs all of
 * them, otherwise over shared memory or TCP after a rendezvous.
 */
interface Worlds extends AutoCloseable {
  Logger LOGGER = LoggerFactory.getLogger(Worlds.class);
  String GROUP_NAME = "world";

  /** The group of all ranks, seen from one of this worker's. The caller closes it. */
  Communicator join(int rank) throws IOException, InterruptedException;

  @Override
  void close();

  /**
   * @param wanted the plan's transport
   * @param timeout how long ranks wait for each other
   */
  static Worlds of(Assignment assignment, JobConfig.Transport wanted, Duration timeout) {
    return assignment.ranks().size() == assignment.worldSize()
        ? new InProcess(assignment.worldSize(), timeout)
        : new OfProcesses(assignment, wanted, timeout);
  }

  /** All ranks are threads of this JVM. */
  final class InProcess implements Worlds {
    private final InProcessNetwork network;
    private final Duration timeout;

    InProcess(int size, Duration timeout) {
      this.network = new InProcessNetwork(size);
      this.timeout = timeout;
    }

    @Override
    public Communicator join(int rank) {
      return new QueuedCommunicator(GROUP_NAME, network.transport(rank), timeout);
    }

    @Override
    public void close() {}
  }

  /** Ranks of several processes, over shared memory where all of them can, or over TCP. */
  final class OfProcesses implements Worlds {
    private final Assignment assignment;
    private final JobConfig.Transport wanted;
    private final Duration timeout;
    private final JobToken token;

    OfProcesses(Assignment assignment, JobConfig.Transport wanted, Duration timeout) {
      this.assignment = assignment;
      this.wanted = wanted;
      this.timeout = timeout;
      this.token = JobToken.parse(assignment.token());
    }

    @Override
    public Communicator join(int rank) throws IOException, InterruptedException {
      TcpEndpoint endpoint =
          TcpEndpoint.listen(InetAddress.getLoopbackAddress(), token, "rank-" + rank + "-tcp");
      try (SharedMemory sharedMemory = sharedMemory(rank)) {
        // The control connection lasts as long as the process, so that the others hear of its end.
        Members members =
            RendezvousClient.join(
                new InetSocketAddress(assignment.rendezvousHost(), assignment.rendezvousPort()),
                new Membership(
                    rank,
                    assignment.worldSize(),
                    fingerprint(),
                    endpoint.address(),
                    sharedMemory.host()),
                token,
                timeout);
        Deadline deadline = Deadline.after(timeout);
        if (members.shareMemory()) {
          endpoint.close();
          return communicator(sharedMemory.connect(deadline), members);
        }
        if (wanted == JobConfig.Transport.SHM) {
          throw new CollectiveException(
              "rank "
                  + rank
                  + ": communication.transport is shm, but not all ranks can share memory with it."
                  + " Write 'transport: auto' or 'tcp'.");
        }
        return communicator(
            endpoint.connect(GroupId.WORLD, rank, members.addresses(), deadline), members);
      }
    }

    private Communicator communicator(Transport transport, Members members) {
      members.onLost(lost -> transport.lost(lost.rank(), lost.reason()));
      return new QueuedCommunicator(GROUP_NAME, transport, timeout);
    }

    private SharedMemory sharedMemory(int rank) throws IOException {
      boolean isWanted = wanted == JobConfig.Transport.AUTO || wanted == JobConfig.Transport.SHM;
      Optional<String> host = isWanted ? SharedMemoryEndpoint.hostIdentity() : Optional.empty();
      if (host.isEmpty()) {
        return new SharedMemory(Optional.empty(), Optional.empty());
      }
      try {
        return new SharedMemory(
            host, Optional.of(SharedMemoryEndpoint.create(token, rank, assignment.worldSize())));
      } catch (IOException e) {
        if (wanted == JobConfig.Transport.SHM) {
          throw e;
        }
        LOGGER.warn("{} The ranks talk over TCP instead.", e.getMessage());
        return new SharedMemory(Optional.empty(), Optional.empty());
      }
    }

    /** What a rank has of shared memory while it joins. */
    private record SharedMemory(Optional<String> host, Optional<SharedMemoryEndpoint> endpoint)
        implements AutoCloseable {
      Transport connect(Deadline deadline) throws IOException, InterruptedException {
        return endpoint.orElseThrow().connect(deadline);
      }

      @Override
      public void close() throws IOException {
        if (endpoint.isPresent()) {
          endpoint.get().close();
        }
      }
    }

    /** All ranks must run the same plan. */
    private String fingerprint() {
      try {
        byte[] digest =
            MessageDigest.getInstance("SHA-256")
                .digest(assignment.plan().getBytes(StandardCharsets.UTF_8));
        return HexFormat.of().formatHex(digest);
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException("Every Java has SHA-256", e);
      }
    }

    @Override
    public void close() {}
  }
}
