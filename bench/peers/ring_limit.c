// What a ring all-reduce over loopback TCP takes at least: processes that do nothing but move its pieces through sockets, and, as far as
// they are told, add them up and take their checksums.
//   ring_limit RANKS BYTES adds|moves sums|plain
// One line: the median of 15 all-reduces, each from the first rank's start to the last one's end, in milliseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nmmintrin.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 15, MOST_RANKS = 16, PIECE = 256 << 10 };

static int ranks, adds, checksums;
static size_t bytes;
static int to_next[MOST_RANKS], from_last[MOST_RANKS];

static double milliseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

// Three lanes, as the instruction takes three cycles; which sum it is does not matter here.
__attribute__((target("sse4.2"))) static unsigned long checksum(const char *from, size_t count) {
  const unsigned long *words = (const unsigned long *)from;
  size_t third = count / 24;
  unsigned long a = 0, b = 0, c = 0;
  for (size_t i = 0; i < third; i++) {
    a = _mm_crc32_u64(a, words[i]);
    b = _mm_crc32_u64(b, words[i + third]);
    c = _mm_crc32_u64(c, words[i + 2 * third]);
  }
  return a ^ b ^ c;
}

static void add(float *into, const float *from, size_t count) {
  for (size_t i = 0; i < count; i++) into[i] += from[i];
}

static void connect_ring(void) {
  for (int rank = 0; rank < ranks; rank++) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    to_next[rank] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (void *)&address, length) || listen(listening, 1) || getsockname(listening, (void *)&address, &length) ||
        connect(to_next[rank], (void *)&address, length)) {
      perror("ring_limit: loopback");
      exit(1);
    }
    setsockopt(to_next[rank], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    from_last[(rank + 1) % ranks] = accept(listening, 0, 0);
    close(listening);
  }
}

// Piece i that a rank sends is of its own part at first, and then what it has received a part's length before.
static void all_reduce(int rank, char *tensor, char *scratch) {
  size_t part = bytes / ranks, of_part = part / PIECE, all = (2 * ranks - 2) * of_part;
  size_t sent = 0, sent_bytes = 0, received = 0, received_bytes = 0;
  volatile unsigned long sums = 0;
  while (sent < all || received < all) {
    int moved = 0;
    while (sent < all && (sent < of_part || received > sent - of_part)) {
      char *piece = tensor + (rank - sent / of_part + 2 * ranks) % ranks * part + sent % of_part * PIECE;
      if (checksums && sent_bytes == 0) sums += checksum(piece, PIECE);
      ssize_t count = write(to_next[rank], piece + sent_bytes, PIECE - sent_bytes);
      if (count <= 0) break;
      moved = 1;
      sent_bytes += count;
      if (sent_bytes < PIECE) break;
      sent_bytes = 0;
      sent++;
    }
    if (received < all) {
      size_t stage = received / of_part + 1;
      char *piece = tensor + (rank - stage + 2 * ranks) % ranks * part + received % of_part * PIECE;
      int is_summed = stage < (size_t)ranks;
      char *target = is_summed ? scratch : piece;
      ssize_t count = read(from_last[rank], target + received_bytes, PIECE - received_bytes);
      if (count > 0) {
        moved = 1;
        if (checksums) sums += checksum(target + received_bytes, count);
        received_bytes += count;
      }
      if (received_bytes == PIECE) {
        if (is_summed && adds) add((float *)piece, (float *)scratch, PIECE / sizeof(float));
        received_bytes = 0;
        received++;
      }
    }
    if (!moved) {
      int can_send = sent < all && (sent < of_part || received > sent - of_part);
      struct pollfd waiting[] = {{from_last[rank], received < all ? POLLIN : 0, 0}, {to_next[rank], can_send ? POLLOUT : 0, 0}};
      poll(waiting, 2, 1000);
    }
  }
}

static int ascending(const void *a, const void *b) {
  return *(const double *)a < *(const double *)b ? -1 : 1;
}

int main(int count, char **arguments) {
  if (count != 5 || (ranks = atoi(arguments[1])) < 2 || ranks > MOST_RANKS || (bytes = atol(arguments[2])) % (ranks * PIECE) != 0) {
    fprintf(stderr, "usage: ring_limit RANKS BYTES adds|moves sums|plain; BYTES are a multiple of RANKS times 256 KiB\n");
    return 64;
  }
  adds = !strcmp(arguments[3], "adds");
  checksums = !strcmp(arguments[4], "sums");
  connect_ring();
  double *begins = mmap(0, 2 * ROUNDS * MOST_RANKS * sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  double *ends = begins + ROUNDS * MOST_RANKS;
  int *arrived = mmap(0, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int rank = 0; rank < ranks; rank++) {
    if (fork()) continue;
    fcntl(to_next[rank], F_SETFL, O_NONBLOCK);
    fcntl(from_last[rank], F_SETFL, O_NONBLOCK);
    char *tensor = aligned_alloc(4096, bytes), *scratch = aligned_alloc(4096, PIECE);
    memset(tensor, 0, bytes);
    for (int round = 0; round < ROUNDS; round++) {
      __atomic_fetch_add(arrived, 1, __ATOMIC_SEQ_CST);
      while (__atomic_load_n(arrived, __ATOMIC_SEQ_CST) < ranks * (round + 1)) sched_yield();
      begins[round * MOST_RANKS + rank] = milliseconds();
      all_reduce(rank, tensor, scratch);
      ends[round * MOST_RANKS + rank] = milliseconds();
    }
    _exit(0);
  }
  while (wait(0) > 0) continue;
  double times[ROUNDS];
  for (int round = 0; round < ROUNDS; round++) {
    double first = begins[round * MOST_RANKS], last = 0;
    for (int rank = 0; rank < ranks; rank++) {
      double begin = begins[round * MOST_RANKS + rank], end = ends[round * MOST_RANKS + rank];
      if (begin < first) first = begin;
      if (end > last) last = end;
    }
    times[round] = last - first;
  }
  qsort(times, ROUNDS, sizeof(double), ascending);
  printf("%.1f\n", times[ROUNDS / 2]);
  return 0;
}
