package dev.phalanx.collectives.transport.tcp;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Where the thread of one group sleeps until a socket has something to read or room to write. One
 * thread sleeps; all else may come from any.
 */
final class Waiting {
  private final List<TcpLink> links = new CopyOnWriteArrayList<>(); // that are connected
  private volatile @Nullable Selector selector;

  /**
   * @throws IOException where the channel is closed, or no more files can be opened
   */
  synchronized SelectionKey register(TcpLink link, SocketChannel channel) throws IOException {
    Selector open = selector;
    if (open == null) {
      open = Selector.open();
      selector = open;
    }
    SelectionKey key = channel.register(open, 0);
    links.add(link);
    return key;
  }

  /** Until {@code awaited} can be read, another link can write or the time is over. */
  void sleep(TcpLink awaited, long nanos) {
    Selector open = selector;
    if (open == null) {
      LockSupport.parkNanos(this, nanos);
      return;
    }
    for (TcpLink link : links) {
      link.watch(link == awaited);
    }
    try {
      long millis = TimeUnit.NANOSECONDS.toMillis(nanos);
      if (millis > 0) {
        open.select(millis);
      } else if (open.selectNow() == 0) {
        LockSupport.parkNanos(this, nanos);
      }
      open.selectedKeys().clear();
    } catch (IOException e) {
      throw new UncheckedIOException("Sockets cannot be waited for", e);
    }
  }

  void wake() {
    Selector open = selector;
    if (open != null) {
      open.wakeup();
    }
  }

  /** A link is of no further use; with the last one nobody sleeps here any more. */
  synchronized void left(TcpLink link) {
    Selector open = selector;
    if (links.remove(link) && links.isEmpty() && open != null) {
      selector = null;
      try {
        open.close();
      } catch (IOException e) {
        // It is of no further use.
      }
    }
  }
}
