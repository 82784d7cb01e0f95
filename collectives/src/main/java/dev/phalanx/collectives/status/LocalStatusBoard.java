package dev.phalanx.collectives.status;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The ranks of one JVM. */
public final class LocalStatusBoard implements StatusBoard {
  private final Set<Member> members = ConcurrentHashMap.newKeySet();

  @Override
  public void join(Member member) {
    members.add(member);
  }

  @Override
  public void leave(Member member) {
    members.remove(member);
  }

  /** A thread that is in no group here is one of a process that runs. */
  @Override
  public Answers ask() {
    return new Answers(answer(), rank -> true);
  }

  /** A rank's thread that ends says so to its groups itself. */
  @Override
  public Optional<String> firstLost() {
    return Optional.empty();
  }

  /** Where all are that have joined; they write their records too. */
  public List<RankStatus> answer() {
    List<RankStatus> statuses = members.stream().map(Member::status).toList();
    members.forEach(Member::writeRecords);
    return statuses;
  }
}
