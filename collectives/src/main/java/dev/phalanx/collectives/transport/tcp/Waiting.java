package dev.phalanx.collectives.transport.tcp;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;

/**
 * Where the thread of one group sleeps until a socket has something to read or room to write. One
 * thread; {@link #wake} and {@link #left} may come from any.
 */
final class Waiting {
  private final Selector selector;
  private final List<TcpLink> links = new ArrayList<>();
  private final AtomicInteger left = new AtomicInteger();

  Waiting() {
    try {
      this.selector = Selector.open();
    } catch (IOException e) {
      throw new UncheckedIOException("No more files can be opened for sockets", e);
    }
  }

  void add(TcpLink link) {
    links.add(link);
  }

  /**
   * @throws IOException where the channel is closed
   */
  SelectionKey register(SocketChannel channel) throws IOException {
    return channel.register(selector, 0);
  }

  /** Until {@code awaited} can be read, another link can write or the time is over. */
  void sleep(TcpLink awaited, long nanos) {
    for (TcpLink link : links) {
      link.watch(link == awaited);
    }
    try {
      long millis = TimeUnit.NANOSECONDS.toMillis(nanos);
      if (millis > 0) {
        selector.select(millis);
      } else if (selector.selectNow() == 0) {
        LockSupport.parkNanos(this, nanos);
      }
      selector.selectedKeys().clear();
    } catch (IOException e) {
      throw new UncheckedIOException("Sockets cannot be waited for", e);
    }
  }

  void wake() {
    selector.wakeup();
  }

  /** A link is of no further use; with the last one nobody sleeps here any more. */
  void left() {
    if (left.incrementAndGet() == links.size() - 1) { // this rank's own place is never left
      try {
        selector.close();
      } catch (IOException e) {
        // It is of no further use.
      }
    }
  }
}
