package dev.phalanx.collectives;

import dev.phalanx.collectives.rendezvous.Deliveries;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Transport;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Finds connections that carry nothing any more while both of their ranks live and take them for
 * open, as a firewall leaves them that forgets one. Whoever waits asks the other rank, by way of
 * the rendezvous, how much that one has handed to the network: what was, and does not come for
 * seconds, was lost on the way. A rank that has sent nothing, because it computes or has called
 * something else, is not to blame by this.
 *
 * <p>Thread: any adds groups; all else is the rendezvous' thread.
 */
final class DeliveryWatch implements Deliveries {
  /**
   * So many answers, a second apart, must tell of what has not come: longer than TCP takes to send
   * it anew four times.
   */
  private static final int PROOFS = 7;

  private static final class Watched {
    final GroupId id;
    final GroupMembers members;
    final Transport transport;
    Optional<Transport.Wait> wait = Optional.empty(); // at the last look
    boolean isAsked; // since the last look
    int proofs;

    Watched(GroupId id, GroupMembers members, Transport transport) {
      this.id = id;
      this.members = members;
      this.transport = transport;
    }
  }

  private final List<Watched> groups = new CopyOnWriteArrayList<>();

  void add(GroupId id, GroupMembers members, Transport transport) {
    groups.add(new Watched(id, members, transport));
  }

  @Override
  public void look(Question question) {
    groups.removeIf(group -> group.transport.isClosed());
    for (Watched group : groups) {
      Optional<Transport.Wait> now = group.transport.waiting();
      group.isAsked = now.isPresent() && now.equals(group.wait);
      group.wait = now;
      if (group.isAsked) {
        Transport.Wait wait = now.orElseThrow();
        question.ask(
            group.members.inTheJob(wait.peer()), new Way(group.id, wait.received().stream()));
      } else {
        group.proofs = 0;
      }
    }
  }

  @Override
  public OptionalLong handedOver(int asking, Way way) {
    for (Watched group : groups) {
      int peer = group.members.ranks().indexOf(asking);
      if (group.id.equals(way.group()) && peer >= 0 && peer != group.members.ownIndex()) {
        return OptionalLong.of(group.transport.handedOver(peer, way.stream()));
      }
    }
    return OptionalLong.empty();
  }

  /** One answer to a look counts: others come late, and may have come together. */
  @Override
  public void answered(int rank, Way way, long handedOver) {
    for (Watched group : groups) {
      if (group.isAsked && group.id.equals(way.group())) {
        Transport.Wait wait = group.wait.orElseThrow();
        if (group.members.inTheJob(wait.peer()) == rank
            && wait.received().stream() == way.stream()) {
          group.isAsked = false;
          judge(group, wait, handedOver);
        }
      }
    }
  }

  private static void judge(Watched group, Transport.Wait wait, long handedOver) {
    boolean isMissing =
        handedOver > wait.received().amount()
            && group.transport.waiting().equals(Optional.of(wait));
    group.proofs = isMissing ? group.proofs + 1 : 0;
    if (group.proofs == PROOFS) {
      group.transport.lost(
          wait.peer(),
          "has handed to the network what has not come here for "
              + (PROOFS - 1)
              + " s: the connection between the two carries nothing any more, though either process"
              + " runs. Look at firewalls and proxies between them");
    }
  }
}
