package dev.phalanx.engine.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class ThreadTeamTest {
  @Test
  void everyTaskRunsOnceInEveryRoundOnItsOwnThread() {
    AtomicIntegerArray runs = new AtomicIntegerArray(3);
    Set<Thread> threads = ConcurrentHashMap.newKeySet();
    try (ThreadTeam team = new ThreadTeam(3, "test")) {
      for (int round = 1; round <= 10_000; round++) {
        List<Runnable> tasks = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
          int own = i;
          tasks.add(
              () -> {
                runs.incrementAndGet(own);
                threads.add(Thread.currentThread());
              });
        }
        if (round % 1000 == 0) {
          LockSupport.parkNanos(1_000_000); // long enough for the helpers to fall asleep
        }
        team.run(tasks);
        for (int i = 0; i < 3; i++) {
          assertThat(runs.get(i)).isEqualTo(round);
        }
      }
    }
    assertThat(threads).hasSize(3).contains(Thread.currentThread());
  }

  @Test
  void aTaskThatTakesLongIsWaitedFor() {
    boolean[] isDone = new boolean[1];
    try (ThreadTeam team = new ThreadTeam(2, "test")) {
      team.run(
          List.of(
              () -> {},
              () -> {
                LockSupport.parkNanos(5_000_000); // the caller stops spinning meanwhile
                isDone[0] = true;
              }));
      assertThat(isDone[0]).isTrue();
    }
  }

  @Test
  void aFailureReachesTheCallerAndTheTeamGoesOn() {
    try (ThreadTeam team = new ThreadTeam(2, "test")) {
      IllegalStateException failure = new IllegalStateException("on purpose");
      assertThatThrownBy(
              () ->
                  team.run(
                      List.of(
                          () -> {},
                          () -> {
                            throw failure;
                          })))
          .isSameAs(failure);
      boolean[] ran = new boolean[2];
      team.run(List.of(() -> ran[0] = true, () -> ran[1] = true));
      assertThat(ran).containsExactly(true, true);
    }
  }
}
