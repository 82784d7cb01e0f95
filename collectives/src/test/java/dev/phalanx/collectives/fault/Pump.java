package dev.phalanx.collectives.fault;

import java.io.IOException;
import java.net.Socket;
import java.net.SocketException;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;

/**
 * One direction of one connection. A thread reads and notes when what came; another delivers it
 * when it is due, so that a delay holds back only what it delays.
 */
final class Pump {
  /** What came at once; without bytes, the end of the stream. */
  private record Chunk(long arrivedNanos, byte[] bytes, boolean isReset) {
    boolean isEnd() {
      return bytes.length == 0;
    }
  }

  private static final int CHUNK_BYTES = 1 << 16;
  private static final int MOST_CHUNKS = 64; // as much as the buffers of a fast network hold

  private final Direction direction;
  private final Connection connection;
  private final Socket from;
  private final Socket to;
  private final BlockingQueue<Chunk> chunks = new ArrayBlockingQueue<>(MOST_CHUNKS);

  // Of the thread that delivers:
  private long offset;
  private long toDrop;
  private boolean isTruncated;

  Pump(Direction direction, Connection connection, Socket from, Socket to) {
    this.direction = direction;
    this.connection = connection;
    this.from = from;
    this.to = to;
  }

  /** Reads until the stream ends. */
  void read() throws InterruptedException {
    boolean isReset = false;
    try {
      byte[] buffer = new byte[CHUNK_BYTES];
      int count = from.getInputStream().read(buffer);
      while (count > 0) {
        chunks.put(new Chunk(System.nanoTime(), Arrays.copyOf(buffer, count), false));
        count = from.getInputStream().read(buffer);
      }
    } catch (IOException e) {
      isReset = true;
    }
    chunks.put(new Chunk(System.nanoTime(), new byte[0], isReset));
  }

  /** Delivers until the stream has ended, its end too. */
  void deliver() throws InterruptedException {
    try {
      Chunk chunk = chunks.take();
      while (!chunk.isEnd()) {
        deliver(chunk);
        chunk = chunks.take();
      }
      if (!isTruncated) {
        awaitTurn(chunk, 0);
        if (chunk.isReset()) {
          connection.reset();
        } else {
          connection.end(to);
        }
      }
    } catch (IOException e) {
      connection.reset(); // the receiver is gone, and the sender shall see it
    }
  }

  private void deliver(Chunk chunk) throws IOException, InterruptedException {
    int length = chunk.bytes().length;
    int start = 0;
    while (start < length && !isTruncated) {
      int granted = awaitTurn(chunk, length - start);
      if (toDrop > 0) {
        int dropped = (int) Math.min(toDrop, granted);
        toDrop -= dropped;
        offset += dropped;
        start += dropped;
        continue;
      }
      Optional<Fault> fault = direction.take(offset, offset + granted);
      if (fault.isEmpty()) {
        write(chunk, start, granted);
        start += granted;
      } else {
        int before = (int) (fault.get().offset() - offset);
        try {
          write(chunk, start, before);
          start += before;
          happen(fault.get(), chunk.bytes(), start);
        } finally {
          direction.happened();
        }
      }
    }
  }

  private void write(Chunk chunk, int start, int count) throws IOException {
    to.getOutputStream().write(chunk.bytes(), start, count);
    offset += count;
    direction.delivered(count);
  }

  private int awaitTurn(Chunk chunk, int wanted) throws IOException, InterruptedException {
    int granted = direction.awaitTurn(chunk.arrivedNanos(), wanted);
    if (to.isClosed()) { // a connection that was cut has no more part in the direction's faults
      throw new SocketException("the connection was cut");
    }
    return granted;
  }

  private void happen(Fault fault, byte[] bytes, int start) throws IOException {
    if (fault instanceof Fault.FlipBit flip) {
      bytes[start] ^= (byte) (1 << flip.bit());
    } else if (fault instanceof Fault.Drop drop) {
      toDrop = drop.count();
    } else if (fault instanceof Fault.Truncate) {
      isTruncated = true;
      connection.end(to);
    } else if (fault instanceof Fault.Cut) {
      connection.reset();
    } else {
      direction.stop();
    }
  }
}
