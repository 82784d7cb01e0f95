package dev.phalanx.collectives.status;

import java.util.Optional;

/**
 * Where a rank is in the operations of one group. Ranks have their numbers in the job.
 *
 * @param group the group's name
 * @param lastFinished the operation that it finished last, as messages name it; empty: none yet
 * @param current the operation that it is in; empty: it is in none, its code is elsewhere
 * @param waitsFor the rank that it waits for; empty: none
 * @param millis how long it has been where it is
 */
public record RankStatus(
    String group,
    int rank,
    Optional<String> lastFinished,
    Optional<String> current,
    Optional<Integer> waitsFor,
    long millis) {}
