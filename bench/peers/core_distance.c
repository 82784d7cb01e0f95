// How far apart two cores are: the nanoseconds that a cache line takes from one to the other. In a virtual machine that changes while
// it runs, when its host puts its cores on others, and with it how long ranks on one host take for their messages.
//   cc -O2 -pthread core_distance.c -o core_distance; core_distance [SECONDS]
// A line every half second, for ten seconds where no number is given. Nothing else should run.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PASSES = 200000, PAUSE_MICROS = 500000 };

static volatile int line __attribute__((aligned(64)));

static void stay_on(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof cores, &cores)) {
    perror("core_distance: needs cores 0 and 1");
    exit(1);
  }
}

static void *answer(void *unused) {
  (void)unused;
  stay_on(1);
  for (int pass = 1; pass < PASSES; pass += 2) {
    while (line != pass) continue;
    line = pass + 1;
  }
  return NULL;
}

static double nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int count, char **arguments) {
  int seconds = count > 1 ? atoi(arguments[1]) : 10;
  stay_on(0);
  for (int look = 0; look < 2 * seconds; look++) {
    pthread_t other;
    line = 0;
    if (pthread_create(&other, NULL, answer, NULL)) return 1;
    double start = nanoseconds();
    for (int pass = 1; pass < PASSES; pass += 2) {
      line = pass;
      while (line != pass + 1) continue;
    }
    printf("%.0f\n", (nanoseconds() - start) / PASSES);
    fflush(stdout);
    pthread_join(other, NULL);
    usleep(PAUSE_MICROS);
  }
  return 0;
}
