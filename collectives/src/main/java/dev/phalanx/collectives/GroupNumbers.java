package dev.phalanx.collectives;

import dev.phalanx.collectives.transport.GroupId;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The identities of the groups that one rank makes. A group that is made again, when the first one
 * is closed or not, is another one; its ranks count alike.
 */
final class GroupNumbers {
  private record Key(String name, List<Integer> ranks) {}

  private final Map<Key, Integer> made = new ConcurrentHashMap<>();

  GroupId next(GroupMembers group) {
    int times = made.merge(new Key(group.name(), group.ranks()), 1, Integer::sum);
    return GroupId.of(group.name(), group.ranks(), times - 1);
  }
}
