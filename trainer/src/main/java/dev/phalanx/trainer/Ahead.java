package dev.phalanx.trainer;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Tasks that do not need each other, done in turn: on as many threads as there are processors some
 * are begun before their turn, so the answers are those of one thread, only sooner.
 *
 * <p>One thread.
 */
final class Ahead<T> implements AutoCloseable {
  private final Iterator<? extends Callable<T>> tasks;
  private final ExecutorService threads;
  private final Queue<Future<T>> begun = new ArrayDeque<>();

  Ahead(List<? extends Callable<T>> tasks) {
    this.tasks = tasks.iterator();
    int processors = Runtime.getRuntime().availableProcessors();
    this.threads =
        Executors.newFixedThreadPool(
            processors,
            task -> {
              Thread thread = new Thread(task, "ahead");
              thread.setDaemon(true);
              return thread;
            });
    for (int i = 0; i < processors; i++) {
      begin();
    }
  }

  private void begin() {
    if (tasks.hasNext()) {
      begun.add(threads.submit(tasks.next()));
    }
  }

  /**
   * What the next task gives, or throws.
   *
   * @throws IOException where a task could not read a file
   */
  T next() throws IOException, InterruptedException {
    Future<T> turn = begun.remove();
    begin();
    try {
      return turn.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException unreadable) {
        throw unreadable;
      }
      if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      if (e.getCause() instanceof Error error) {
        throw error;
      }
      throw new IllegalStateException(e.getCause());
    }
  }

  /** What was begun and is not needed ends by itself, soon. */
  @Override
  public void close() {
    begun.forEach(task -> task.cancel(true));
    threads.shutdown();
  }
}
