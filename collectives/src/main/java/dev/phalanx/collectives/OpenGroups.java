package dev.phalanx.collectives;

import dev.phalanx.collectives.rendezvous.Deliveries;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Transport;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * The groups of one rank that are not closed, to which news of the job's other ranks goes.
 *
 * <p>Thread: any; but what {@link Deliveries} says is the rendezvous' thread alone.
 */
final class OpenGroups implements Deliveries {
  private final List<OpenGroup> groups = new CopyOnWriteArrayList<>();

  void add(GroupId id, GroupMembers members, Transport transport) {
    forgetClosed();
    groups.add(new OpenGroup(id, members, transport));
  }

  /** A rank of the job will not answer any more: its groups' operations end with the reason. */
  void lost(int rank, String reason) {
    groups.forEach(group -> group.lost(rank, reason));
  }

  @Override
  public void look(Question question) {
    forgetClosed();
    groups.forEach(group -> group.look(question));
  }

  @Override
  public OptionalLong handedOver(int asking, Way way) {
    return groups.stream()
        .map(group -> group.handedOver(asking, way))
        .filter(OptionalLong::isPresent)
        .findFirst()
        .orElse(OptionalLong.empty());
  }

  @Override
  public void answered(int rank, Way way, long handedOver) {
    groups.forEach(group -> group.answered(rank, way, handedOver));
  }

  private void forgetClosed() {
    groups.removeIf(OpenGroup::isClosed);
  }
}
