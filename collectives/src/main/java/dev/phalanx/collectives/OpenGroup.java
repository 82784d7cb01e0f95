package dev.phalanx.collectives;

import dev.phalanx.collectives.rendezvous.Deliveries;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Transport;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * One group of one rank, to which news of the job's other ranks goes. It finds connections that
 * carry nothing any more while both of their ranks live and take them for open, as a firewall
 * leaves them that forgets one. Whoever waits asks the other rank, by way of the rendezvous, how
 * much that one has handed to the network: what was, and does not come for seconds, was lost on the
 * way. A rank that has sent nothing, because it computes or has called something else, is not to
 * blame by this.
 *
 * <p>Thread: {@link #lost} and {@link #isClosed} any, the rest the rendezvous' own.
 */
final class OpenGroup {
  /**
   * So many answers, a second apart, must tell of what has not come: longer than TCP takes to send
   * it anew four times.
   */
  private static final int PROOFS = 7;

  private final GroupId id;
  private final GroupMembers members;
  private final Transport transport;
  private Optional<Transport.Wait> wait = Optional.empty(); // at the last look
  private boolean isAsked; // since the last look
  private int proofs;

  OpenGroup(GroupId id, GroupMembers members, Transport transport) {
    this.id = id;
    this.members = members;
    this.transport = transport;
  }

  boolean isClosed() {
    return transport.isClosed();
  }

  /** A rank of the job will not answer any more: operations end with the reason. */
  void lost(int rank, String reason) {
    int peer = members.ranks().indexOf(rank);
    if (peer >= 0) {
      transport.lost(peer, reason);
    }
  }

  void look(Deliveries.Question question) {
    Optional<Transport.Wait> now = transport.waiting();
    isAsked = now.isPresent() && now.equals(wait);
    wait = now;
    if (isAsked) {
      Transport.Wait same = now.orElseThrow();
      question.ask(members.inTheJob(same.peer()), new Deliveries.Way(id, same.received().stream()));
    } else {
      proofs = 0;
    }
  }

  /** Empty where the way is not one of this group from this rank to the one that asks. */
  OptionalLong handedOver(int asking, Deliveries.Way way) {
    int peer = members.ranks().indexOf(asking);
    boolean isOurs = id.equals(way.group()) && peer >= 0 && peer != members.ownIndex();
    return isOurs
        ? OptionalLong.of(transport.handedOver(peer, way.stream()))
        : OptionalLong.empty();
  }

  /** One answer to a look counts: others come late, and may have come together. */
  void answered(int rank, Deliveries.Way way, long handedOver) {
    if (!isAsked || !id.equals(way.group())) {
      return;
    }
    Transport.Wait asked = wait.orElseThrow();
    if (members.inTheJob(asked.peer()) == rank && asked.received().stream() == way.stream()) {
      isAsked = false;
      judge(asked, handedOver);
    }
  }

  private void judge(Transport.Wait asked, long handedOver) {
    boolean isMissing = handedOver > asked.received().amount() && transport.waiting().equals(wait);
    proofs = isMissing ? proofs + 1 : 0;
    if (proofs == PROOFS) {
      transport.lost(
          asked.peer(),
          "has handed to the network what has not come here for "
              + (PROOFS - 1)
              + " s: the connection between the two carries nothing any more, though either process"
              + " runs. Look at firewalls and proxies between them");
    }
  }
}
