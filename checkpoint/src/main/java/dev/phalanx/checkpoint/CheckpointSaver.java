package dev.phalanx.checkpoint;

import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Saves checkpoints while training goes on: {@link #save} copies the tensors in host memory and
 * returns, one thread writes. A second save waits for the first.
 *
 * <p>One thread calls; the listener is called on the thread that writes.
 */
public final class CheckpointSaver implements AutoCloseable {
  private static final Logger LOGGER = LoggerFactory.getLogger(CheckpointSaver.class);

  private final LocalCheckpointStore store;
  private final int keep;
  private final @Nullable Arena snapshots;
  private final Consumer<Path> published;
  private final ExecutorService writer;
  private final List<Tensor> copies = new ArrayList<>();
  private @Nullable Future<Path> underWay;
  private Optional<Path> newest = Optional.empty();

  /**
   * @param keep how many checkpoints stay
   * @param snapshots owns the copies, on the CPU; null: {@link #save} returns when the checkpoint
   *     is written
   * @param published hears of every checkpoint once it is complete
   */
  public CheckpointSaver(
      LocalCheckpointStore store, int keep, @Nullable Arena snapshots, Consumer<Path> published) {
    this.store = store;
    this.keep = keep;
    this.snapshots = snapshots;
    this.published = published;
    this.writer =
        Executors.newSingleThreadExecutor(
            task -> {
              Thread thread = new Thread(task, "checkpoint-writer");
              thread.setDaemon(true);
              return thread;
            });
  }

  /**
   * Saves the tensors as they are now.
   *
   * @throws CheckpointWriteException where this save, or the one before, failed
   */
  public void save(
      CheckpointManifest manifest,
      List<SafetensorsWriter.Entry> model,
      List<SafetensorsWriter.Entry> optimizer)
      throws InterruptedException {
    start(manifest, model, optimizer);
    if (snapshots == null) {
      finish();
    }
  }

  /**
   * Begins to save the tensors. Without snapshots they must stay as they are until {@link
   * #awaitDone} or {@link #finish} says that it is done.
   *
   * @throws CheckpointWriteException where the save before failed
   */
  public void start(
      CheckpointManifest manifest,
      List<SafetensorsWriter.Entry> model,
      List<SafetensorsWriter.Entry> optimizer)
      throws InterruptedException {
    start(manifest, model, optimizer, List.of());
  }

  /**
   * {@link #start(CheckpointManifest, List, List)} with other files, which are made when it is
   * their turn to be written: what they are made of must stay as it is until then, also with
   * snapshots.
   */
  public void start(
      CheckpointManifest manifest,
      List<SafetensorsWriter.Entry> model,
      List<SafetensorsWriter.Entry> optimizer,
      List<LocalCheckpointStore.OtherFile> others)
      throws InterruptedException {
    finish();
    if (snapshots == null) {
      underWay = writer.submit(() -> write(manifest, model, optimizer, others));
      return;
    }
    List<SafetensorsWriter.Entry> modelCopy = copy(snapshots, model, 0);
    List<SafetensorsWriter.Entry> optimizerCopy = copy(snapshots, optimizer, model.size());
    awaitCopies(snapshots.engine(), model, optimizer);
    underWay = writer.submit(() -> write(manifest, modelCopy, optimizerCopy, others));
  }

  /** Copies run on the device that they read from. */
  private static void awaitCopies(
      Engine engine, List<SafetensorsWriter.Entry> model, List<SafetensorsWriter.Entry> optimizer) {
    Stream.of(model, optimizer)
        .flatMap(List::stream)
        .map(entry -> entry.tensor().device())
        .distinct()
        .forEach(engine::synchronize);
  }

  private List<SafetensorsWriter.Entry> copy(
      Arena arena, List<SafetensorsWriter.Entry> entries, int firstCopy) {
    List<SafetensorsWriter.Entry> copied = new ArrayList<>();
    for (int i = 0; i < entries.size(); i++) {
      Tensor original = entries.get(i).tensor();
      if (copies.size() == firstCopy + i) { // the first save; later ones have the same shapes
        copies.add(arena.allocate(original.dtype(), original.shape()));
      }
      Tensor copy = copies.get(firstCopy + i);
      arena.engine().copy(original, copy);
      copied.add(new SafetensorsWriter.Entry(entries.get(i).name(), copy));
    }
    return copied;
  }

  private Path write(
      CheckpointManifest manifest,
      List<SafetensorsWriter.Entry> model,
      List<SafetensorsWriter.Entry> optimizer,
      List<LocalCheckpointStore.OtherFile> others) {
    Path directory;
    try {
      directory = store.save(manifest, model, optimizer, others);
    } catch (CheckpointWriteException e) {
      if (snapshots != null) { // whoever saves hears of it when he saves again, which may be long
        LOGGER.error("{} Work goes on until the next save, and ends then.", e.getMessage());
      }
      throw e;
    }
    published.accept(directory);
    try {
      store.keepNewest(keep);
    } catch (IOException e) {
      throw new CheckpointWriteException(
          "Older checkpoints in " + store.root() + " could not be deleted: " + e.getMessage(), e);
    }
    return directory;
  }

  /**
   * Waits until everything is written.
   *
   * @throws CheckpointWriteException where it could not be
   */
  public void finish() throws InterruptedException {
    while (!awaitDone(Duration.ofDays(1))) {
      // It goes on for as long as the disk needs.
    }
  }

  /**
   * Waits until everything is written, but no longer than this.
   *
   * @return whether it is
   * @throws CheckpointWriteException where it could not be
   */
  public boolean awaitDone(Duration longest) throws InterruptedException {
    Future<Path> waiting = underWay;
    if (waiting == null) {
      return true;
    }
    try {
      newest = Optional.of(waiting.get(longest.toNanos(), TimeUnit.NANOSECONDS));
      underWay = null; // not where the wait is interrupted: the write goes on
      return true;
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      underWay = null;
      if (e.getCause() instanceof CheckpointWriteException failure) {
        throw failure;
      }
      throw new CheckpointWriteException(
          "A checkpoint in " + store.root() + " could not be written: " + e.getCause(), e);
    }
  }

  /** The latest checkpoint that this saver has completed, as far as it was waited for. */
  public Optional<Path> newest() {
    return newest;
  }

  /**
   * Waits until nothing is being written, whatever comes of it: {@link #awaitDone} and {@link
   * #finish} still tell. An interrupt does not end the wait, for the caller frees next what is
   * being written.
   */
  public void awaitQuiet() {
    Future<Path> waiting = underWay;
    boolean isInterrupted = false;
    while (waiting != null && !waiting.isDone()) {
      try {
        waiting.get();
      } catch (InterruptedException e) {
        isInterrupted = true;
      } catch (ExecutionException e) {
        // it is done
      }
    }
    if (isInterrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * {@link #awaitQuiet}, and nothing is saved any more. The failure of a save under way is lost;
   * call {@link #finish} before.
   */
  @Override
  public void close() {
    writer.shutdown();
    awaitQuiet();
  }
}
