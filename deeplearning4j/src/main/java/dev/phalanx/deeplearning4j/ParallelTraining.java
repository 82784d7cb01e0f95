package dev.phalanx.deeplearning4j;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.ProcessGroups;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.deeplearning4j.nn.api.Model;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Trains a Deeplearning4j network with several threads of this JVM, each of which computes its
 * share of every batch:
 *
 * <pre>{@code
 * try (ParallelTraining<MultiLayerNetwork> training = ParallelTraining.threads(network, 2)) {
 *   training.fit(batches, epochs);
 * }
 * }</pre>
 *
 * <p>The calling thread is rank 0 and trains {@code network} itself, so its listeners, evaluation
 * and saving work as ever; the other ranks train copies, which this owns. See {@link
 * DataParallelNetwork} for what the ranks do together.
 *
 * <p>Start the JVM with {@code OMP_NUM_THREADS=1}: each rank is a thread already.
 *
 * <p>Thread: one, the one that made this.
 *
 * @param <M> {@code MultiLayerNetwork} or {@code ComputationGraph}
 */
public final class ParallelTraining<M extends Model> implements ParallelNetwork<M> {
  private static final Logger LOGGER = LoggerFactory.getLogger(ParallelTraining.class);

  /** Longer than any batch should take: threads of one JVM do not get lost. */
  private static final Duration TIMEOUT = Duration.ofMinutes(10);

  private final List<Worker> workers = new ArrayList<>(); // ranks 1 and up
  private final Communicator world;
  private final DataParallelNetwork<M> own;
  private final TrainedNetwork network;
  private boolean isBroken;
  private boolean isClosed;

  /** What a rank does. */
  private interface Step {
    void run(DataParallelNetwork<?> rank) throws InterruptedException;
  }

  /** A rank with a thread of its own. */
  private static final class Worker {
    private final Communicator world;
    private final TrainedNetwork copy;
    private final ExecutorService thread;
    private @Nullable DataParallelNetwork<?> rank; // made and used by the thread

    Worker(int number, Communicator world, TrainedNetwork copy) {
      this.world = world;
      this.copy = copy;
      this.thread =
          Executors.newSingleThreadExecutor(
              task -> {
                Thread made = new Thread(task, "rank-" + number);
                made.setDaemon(true);
                return made;
              });
    }

    void join(TrainingOptions options) throws InterruptedException {
      rank = DataParallelNetwork.of(copy.model(), world, options);
    }

    void run(Step step) throws InterruptedException {
      DataParallelNetwork<?> joined = rank;
      if (joined != null) {
        step.run(joined);
      }
    }

    void leave() {
      if (rank != null) {
        rank.close();
      }
      world.close();
      copy.model().close();
    }

    /** Returns false where the calling thread was interrupted while it waited. */
    boolean awaitEnd() {
      try {
        if (!thread.awaitTermination(TIMEOUT.toSeconds(), TimeUnit.SECONDS)) {
          LOGGER.warn(
              "Rank {} has not ended after {}: its memory is not freed", world.rank(), TIMEOUT);
        }
        return true;
      } catch (InterruptedException e) {
        return false;
      }
    }
  }

  private ParallelTraining(M model, int ranks, TrainingOptions options)
      throws InterruptedException {
    if (ranks < 1) {
      throw new IllegalArgumentException("A network is trained by 1 rank or more, not " + ranks);
    }
    this.network = TrainedNetwork.of(model);
    InProcessGroups groups = new InProcessGroups(ranks, GroupOptions.withTimeout(TIMEOUT));
    List<Communicator> worlds = new ArrayList<>();
    for (int rank = 0; rank < ranks; rank++) {
      worlds.add(world(groups.ofRank(rank)));
    }
    this.world = worlds.get(0);
    for (int rank = 1; rank < ranks; rank++) {
      workers.add(new Worker(rank, worlds.get(rank), network.copy()));
    }
    AtomicReference<DataParallelNetwork<M>> joined = new AtomicReference<>();
    try {
      together(
          worker -> worker.join(options),
          () -> joined.set(DataParallelNetwork.of(model, world, options)));
      this.own = Objects.requireNonNull(joined.get());
    } catch (InterruptedException | RuntimeException | Error e) {
      leave(joined.get());
      throw e;
    }
  }

  private static Communicator world(ProcessGroups rank) throws InterruptedException {
    try {
      return rank.world();
    } catch (IOException e) {
      throw new IllegalStateException("Threads of one JVM need no connection", e);
    }
  }

  /**
   * Makes ready for training with so many threads, the calling one among them.
   *
   * @param network as it is: its parameters and the state of its updater are where training begins
   * @throws IllegalArgumentException where the network cannot be trained so
   */
  public static <M extends Model> ParallelTraining<M> threads(M network, int ranks)
      throws InterruptedException {
    return threads(network, ranks, TrainingOptions.DEFAULT);
  }

  /** {@link #threads(Model, int)} with options. */
  public static <M extends Model> ParallelTraining<M> threads(
      M network, int ranks, TrainingOptions options) throws InterruptedException {
    return new ParallelTraining<>(network, ranks, options);
  }

  @Override
  public M network() {
    return own.network();
  }

  @Override
  public int ranks() {
    return workers.size() + 1;
  }

  @Override
  public double waitedMillis() {
    return own.waitedMillis();
  }

  @Override
  public void fit(MultiDataSetIterator batches, int epochs) throws InterruptedException {
    DataParallelNetwork.requireEpochs(batches, epochs);
    for (int epoch = 0; epoch < epochs; epoch++) {
      all(DataParallelNetwork::beginEpoch);
      try (Prefetch prefetch = new Prefetch(batches, own.batchesOfEpoch())) {
        for (MultiDataSet batch = prefetch.next(); batch != null; batch = prefetch.next()) {
          fit(batch);
        }
        own.requireBatch();
        all(DataParallelNetwork::endEpoch);
      } finally {
        own.leaveEpoch();
      }
    }
  }

  @Override
  public void fit(MultiDataSet batch) throws InterruptedException {
    all(rank -> rank.fit(batch));
  }

  @Override
  public boolean resume(Path from) throws IOException, InterruptedException {
    AtomicBoolean isResumed = new AtomicBoolean();
    AtomicReference<BadCheckpointException> refusal = new AtomicReference<>();
    try {
      all(
          rank -> {
            try {
              isResumed.set(rank.resume(from));
            } catch (BadCheckpointException e) { // on all ranks, which go on as they were
              refusal.compareAndSet(null, e);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    BadCheckpointException refused = refusal.get();
    if (refused != null) {
      throw refused;
    }
    return isResumed.get();
  }

  @Override
  public void saveCheckpoint() throws InterruptedException {
    all(DataParallelNetwork::saveCheckpoint);
  }

  @Override
  public boolean decide(boolean own) {
    return own;
  }

  private void all(Step step) throws InterruptedException {
    if (isClosed) {
      throw new IllegalStateException("This training is closed: its threads have ended");
    }
    if (isBroken) {
      throw new IllegalStateException("A rank has failed before: make a new ParallelTraining");
    }
    together(worker -> worker.run(step), () -> step.run(own));
  }

  private interface WorkerStep {
    void run(Worker worker) throws InterruptedException;
  }

  private interface OwnStep {
    void run() throws InterruptedException;
  }

  /** Returns when every rank has done its step. */
  private void together(WorkerStep step, OwnStep ownStep) throws InterruptedException {
    List<Future<?>> underWay = new ArrayList<>();
    for (Worker worker : workers) {
      underWay.add(
          worker.thread.submit(
              () -> {
                try {
                  step.run(worker);
                  return null;
                } catch (InterruptedException | RuntimeException | Error e) {
                  worker.world.close(); // the others hear of it
                  throw e;
                }
              }));
    }
    try {
      ownStep.run();
    } catch (InterruptedException | RuntimeException | Error e) {
      isBroken = true;
      world.close();
      throw rootCause(e, underWay);
    }
    for (int i = 0; i < underWay.size(); i++) {
      try {
        underWay.get(i).get();
      } catch (InterruptedException e) {
        isBroken = true;
        world.close();
        throw e;
      } catch (ExecutionException e) {
        isBroken = true;
        world.close();
        throw failure(i + 1, e.getCause());
      }
    }
  }

  /** Who only heard of another's failure is not the one to tell. */
  private static RuntimeException rootCause(Throwable own, List<Future<?>> underWay)
      throws InterruptedException {
    if (own instanceof CollectiveException) {
      for (int i = 0; i < underWay.size(); i++) {
        try {
          underWay.get(i).get();
        } catch (ExecutionException e) {
          if (!(e.getCause() instanceof CollectiveException)) {
            return failure(i + 1, e.getCause());
          }
        }
      }
    }
    if (own instanceof InterruptedException interrupted) {
      throw interrupted;
    }
    if (own instanceof Error error) {
      throw error;
    }
    return (RuntimeException) own;
  }

  private static IllegalStateException failure(int rank, @Nullable Throwable cause) {
    return new IllegalStateException(
        "rank " + rank + ": " + (cause == null ? "it failed" : cause.getMessage()), cause);
  }

  @Override
  public void close() {
    if (!isClosed) {
      isClosed = true;
      leave(own);
    }
  }

  /** Returns when the threads have ended. */
  private void leave(@Nullable DataParallelNetwork<M> joined) {
    if (joined != null) {
      joined.close();
    }
    world.close(); // who still waits for this rank hears of it
    for (Worker worker : workers) {
      worker.thread.execute(worker::leave);
      worker.thread.shutdown();
    }
    boolean isInterrupted = false;
    for (Worker worker : workers) {
      isInterrupted |= !worker.awaitEnd();
    }
    if (isInterrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
