package dev.phalanx.launcher.worker;

import dev.phalanx.collectives.ConnectedGroups;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.TransportKind;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/**
 * Brings a worker's ranks together with all others of the job: in this JVM where it runs all of
 * them, otherwise after a rendezvous.
 */
interface Worlds {
  /**
   * The job's ranks, seen from one of this worker's. They stay together as long as the process, so
   * that the others hear of its end.
   */
  ProcessGroups join(int rank) throws IOException, InterruptedException;

  /**
   * @param wanted the plan's transport
   * @param file what of the plan is in another file, which all ranks must have alike; or nothing
   */
  static Worlds of(
      Assignment assignment, JobConfig.Transport wanted, GroupOptions options, String file) {
    if (assignment.ranks().size() == assignment.worldSize()) {
      InProcessGroups groups = new InProcessGroups(assignment.worldSize(), options);
      return groups::ofRank;
    }
    return rank -> connect(assignment, rank, kind(wanted), options, file);
  }

  private static ProcessGroups connect(
      Assignment assignment, int rank, TransportKind transport, GroupOptions options, String file)
      throws IOException, InterruptedException {
    return ConnectedGroups.join(
        new ConnectedGroups.Joining(
            rank,
            assignment.worldSize(),
            fingerprint(assignment.plan() + file),
            new InetSocketAddress(assignment.rendezvousHost(), assignment.rendezvousPort()),
            InetAddress.getByName(assignment.address()),
            Credentials.of(JobToken.parse(assignment.token()), assignment.encryption()),
            transport),
        options);
  }

  private static TransportKind kind(JobConfig.Transport wanted) {
    return switch (wanted) {
      case SHM -> TransportKind.SHM;
      case TCP -> TransportKind.TCP;
      case GRPC -> TransportKind.GRPC;
      case AUTO, INPROCESS, NCCL -> TransportKind.AUTO;
    };
  }

  /** All ranks must run the same plan. */
  private static String fingerprint(String plan) {
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256").digest(plan.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Every Java has SHA-256", e);
    }
  }
}
