package dev.phalanx.deeplearning4j;

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;

/**
 * An epoch's batches, of which the next ones are read while one is trained on, as Deeplearning4j's
 * own fit does. What the source throws {@link #next} throws in its turn.
 *
 * <pre>
 *   source  ->  reading thread  ->  | batch | batch |  ->  next
 * </pre>
 *
 * <p>A source that cannot be read by another thread is read by the calling one.
 */
final class Prefetch implements AutoCloseable {
  private static final int BATCHES = 2;

  /** For a source that is in the middle of a batch when the epoch ends early. */
  private static final long CLOSE_MILLIS = 10_000;

  /**
   * What the source has given.
   *
   * @param batch null: it is at its end
   * @param failure what it has thrown in the place of a batch
   */
  private record Read(@Nullable MultiDataSet batch, @Nullable Throwable failure) {
    boolean isLast() {
      return batch == null;
    }
  }

  private final MultiDataSetIterator source;
  private final long done;
  private final BlockingQueue<Read> ahead = new ArrayBlockingQueue<>(BATCHES);
  private final @Nullable Thread reader;
  private long skipped;
  private @Nullable MultiDataSet skippedSample; // seen by others with the next batch
  private @Nullable Read last;

  /**
   * @param source begun anew where it is at its end
   * @param done batches that are left out
   */
  Prefetch(MultiDataSetIterator source, long done) {
    this.source = source;
    this.done = done;
    if (!source.hasNext() && source.resetSupported()) {
      source.reset();
    }
    this.reader = source.asyncSupported() ? start() : null;
  }

  private Thread start() {
    Thread thread = new Thread(this::readAhead, "batches of " + Thread.currentThread().getName());
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  private void readAhead() {
    try {
      Read read;
      do {
        read = read();
        ahead.put(read);
      } while (!read.isLast());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // closed
    }
  }

  private Read read() {
    try {
      for (; skipped < done && source.hasNext(); skipped++) {
        MultiDataSet batch = source.next();
        if (skippedSample == null) {
          skippedSample = Shares.slice(batch, 0, 1).copy();
        }
      }
      return new Read(source.hasNext() ? source.next() : null, null);
    } catch (RuntimeException | Error e) {
      return new Read(null, e);
    }
  }

  /**
   * The next batch; null at the end.
   *
   * @throws InterruptedException where the calling thread is interrupted while it waits
   */
  @Nullable MultiDataSet next() throws InterruptedException {
    Read read = last;
    if (read == null) {
      read = reader == null ? read() : ahead.take();
    }
    if (read.isLast()) {
      last = read;
    }
    if (read.failure() instanceof Error error) {
      throw error;
    }
    if (read.failure() instanceof RuntimeException failure) {
      throw failure;
    }
    return read.batch();
  }

  /** A sample of a batch that was left out, if any was; known when {@link #next} has returned. */
  @Nullable MultiDataSet skippedSample() {
    return skippedSample;
  }

  /** Returns when the source is read no more. */
  @Override
  public void close() {
    if (reader == null) {
      return;
    }
    reader.interrupt();
    try {
      reader.join(CLOSE_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
