package dev.phalanx.launcher.worker;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.QueuedCommunicator;
import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.rendezvous.Members;
import dev.phalanx.collectives.rendezvous.Membership;
import dev.phalanx.collectives.rendezvous.RendezvousClient;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.tcp.GroupId;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import dev.phalanx.launcher.event.Assignment;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;

/**
 * Brings a worker's ranks together with all others of the job: in this JVM where it runs all of
 * them, otherwise over TCP after a rendezvous.
 */
interface Worlds extends AutoCloseable {
  String GROUP_NAME = "world";

  /** The group of all ranks, seen from one of this worker's. The caller closes it. */
  Communicator join(int rank) throws IOException, InterruptedException;

  @Override
  void close();

  /**
   * @param timeout how long ranks wait for each other
   */
  static Worlds of(Assignment assignment, Duration timeout) {
    return assignment.ranks().size() == assignment.worldSize()
        ? new InProcess(assignment.worldSize(), timeout)
        : new OverTcp(assignment, timeout);
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

  /** Ranks of several processes on this host. */
  final class OverTcp implements Worlds {
    private final Assignment assignment;
    private final Duration timeout;
    private final JobToken token;

    OverTcp(Assignment assignment, Duration timeout) {
      this.assignment = assignment;
      this.timeout = timeout;
      this.token = JobToken.parse(assignment.token());
    }

    @Override
    public Communicator join(int rank) throws IOException, InterruptedException {
      TcpEndpoint endpoint =
          TcpEndpoint.listen(InetAddress.getLoopbackAddress(), token, "rank-" + rank + "-tcp");
      Deadline deadline = Deadline.after(timeout);
      // The control connection lasts as long as the process, so that the others hear of its end.
      Members members =
          RendezvousClient.join(
              new InetSocketAddress(assignment.rendezvousHost(), assignment.rendezvousPort()),
              new Membership(rank, assignment.worldSize(), fingerprint(), endpoint.address()),
              token,
              timeout);
      Transport transport = endpoint.connect(GroupId.WORLD, rank, members.addresses(), deadline);
      return new QueuedCommunicator(GROUP_NAME, transport, timeout);
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
