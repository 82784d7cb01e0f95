package dev.phalanx.collectives.transport.nccl;

import static java.util.concurrent.TimeUnit.SECONDS;

import dev.phalanx.tensor.Device;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.IntFunction;

/** The ranks of an NCCL group as threads of this JVM. */
final class NcclGroup implements AutoCloseable {
  /** One rank's part of a test. */
  interface RankBody<T> {
    T run(NcclCommunicator communicator) throws Exception;
  }

  static final Duration PATIENCE = Duration.ofSeconds(20);

  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final List<NcclCommunicator> communicators;

  /**
   * @param nccl of each rank
   * @param device of each rank
   */
  NcclGroup(int size, IntFunction<Nccl> nccl, IntFunction<Device> device, Duration timeout)
      throws Exception {
    UniqueIdExchanges exchanges = new UniqueIdExchanges();
    List<Future<NcclCommunicator>> opening = new ArrayList<>();
    for (int i = 0; i < size; i++) {
      int rank = i;
      opening.add(
          threads.submit(
              () ->
                  NcclCommunicator.open(
                      "test",
                      rank,
                      size,
                      device.apply(rank),
                      timeout,
                      exchanges.of(rank),
                      nccl.apply(rank))));
    }
    this.communicators = all(opening);
  }

  static NcclGroup pretended(PretendedDevices devices, int size, Duration timeout)
      throws Exception {
    return new NcclGroup(size, devices::nccl, PretendedDevices::device, timeout);
  }

  /** Rank 0's identifier goes to the others by memory. */
  static final class UniqueIdExchanges {
    private final CompletableFuture<byte[]> shared = new CompletableFuture<>();

    UniqueIdExchange of(int rank) {
      return id -> {
        if (rank == 0) {
          shared.complete(id.clone());
        } else {
          byte[] ofFirst = shared.orTimeout(PATIENCE.toSeconds(), SECONDS).join();
          System.arraycopy(ofFirst, 0, id, 0, id.length);
        }
      };
    }
  }

  private static <T> List<T> all(List<Future<T>> futures) throws Exception {
    List<T> results = new ArrayList<>();
    for (Future<T> future : futures) {
      results.add(future.get(PATIENCE.toSeconds(), SECONDS));
    }
    return results;
  }

  NcclCommunicator communicator(int rank) {
    return communicators.get(rank);
  }

  /** Runs every rank on a thread of its own and gives the results in order. */
  <T> List<T> run(RankBody<T> body) throws Exception {
    List<Future<T>> futures = new ArrayList<>();
    for (NcclCommunicator communicator : communicators) {
      futures.add(threads.submit(() -> body.run(communicator)));
    }
    return all(futures);
  }

  @Override
  public void close() {
    communicators.forEach(NcclCommunicator::close);
    threads.shutdownNow();
  }
}
