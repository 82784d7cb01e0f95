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
  /** So many seconds of a wait pass before anybody is asked. */
  private static final int PATIENCE = 3;

  /** So many answers, a second apart, must tell of something that has not come. */
  private static final int PROOFS = 4;

  private static final class Watched {
    final GroupId id;
    final GroupMembers members;
    final Transport transport;
    Optional<Transport.Wait> wait = Optional.empty(); // at the last look
    int seconds; // since when that has been the same
    int proofs;

    Watched(GroupId id, GroupMembers members, Transport transport) {
      this.id = id;
      this.members = members;
      this.transport = transport;
    }
  }

  private final List<Watched> groups = new CopyOnWriteArrayList<>();

  void add(GroupId id, GroupMembers members, Transport transport) {
    groups.removeIf(group -> group.transport.isClosed());
    groups.add(new Watched(id, members, transport));
  }

  @Override
  public void look(Question question) {
    for (Watched group : groups) {
      Optional<Transport.Wait> now = group.transport.waiting();
      if (now.isEmpty() || !now.equals(group.wait) || group.transport.isClosed()) {
        group.wait = now;
        group.seconds = 0;
        group.proofs = 0;
        continue;
      }
      group.seconds++;
      if (group.seconds >= PATIENCE) {
        Transport.Wait wait = now.get();
        question.ask(
            group.members.inTheJob(wait.peer()), new Way(group.id, wait.received().stream()));
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

  @Override
  public void answered(int rank, Way way, long handedOver) {
    for (Watched group : groups) {
      Optional<Transport.Wait> wait = group.wait;
      if (group.id.equals(way.group())
          && wait.isPresent()
          && group.members.inTheJob(wait.get().peer()) == rank
          && wait.get().received().stream() == way.stream()
          && wait.equals(group.transport.waiting())) {
        group.proofs = handedOver > wait.get().received().amount() ? group.proofs + 1 : 0;
        if (group.proofs >= PROOFS) {
          group.transport.lost(
              wait.get().peer(),
              "has handed to the network what has not come here for "
                  + group.seconds
                  + " s: the connection between the two carries nothing any more, though either"
                  + " process runs. Look at firewalls and proxies between them");
        }
      }
    }
  }
}
