package dev.phalanx.collectives.fault;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;

/**
 * A network between two ranks that fails on command: it listens on the loopback address, and joins
 * every connection with one of its own to a target. Until a fault is asked for, bytes and ends of
 * streams pass as they are.
 *
 * <pre>
 *                  toTarget()  delay, rate, stop, flip, drop, truncate, cut
 *   rank that     -------------------------------&gt;    rank that
 *   connects      &lt;-------------------------------    listens: the target
 *                 fromTarget() likewise
 * </pre>
 *
 * <p>The same commands have the same effects every time: faults happen at offsets of a stream,
 * never by chance. All methods may be called by any thread, while bytes are on their way too.
 */
public final class FaultProxy implements AutoCloseable {
  private static final int CLOSING_MILLIS = 10_000;

  private final InetSocketAddress target;
  private final ServerSocket listener;
  private final Direction toTarget;
  private final Direction fromTarget;
  private final List<Connection> connections = new ArrayList<>(); // guarded by this
  private final List<Thread> threads = new ArrayList<>(); // guarded by this
  private boolean isClosed; // guarded by this

  /** A proxy for streams without a handshake. */
  public FaultProxy(InetSocketAddress target) throws IOException {
    this(target, 0, 0);
  }

  /**
   * @param handshakeToTarget bytes of the connecting rank's handshake, for {@link
   *     Direction#afterHandshake}
   * @param handshakeFromTarget bytes of the target's
   */
  public FaultProxy(InetSocketAddress target, long handshakeToTarget, long handshakeFromTarget)
      throws IOException {
    this.target = target;
    this.listener = new ServerSocket(0, 0, InetAddress.getLoopbackAddress());
    this.toTarget = new Direction(handshakeToTarget);
    this.fromTarget = new Direction(handshakeFromTarget);
    start(this::accept);
  }

  static String threadName(InetSocketAddress address) {
    return "fault-proxy-" + address.getPort();
  }

  /** Where to connect to instead of to the target. */
  public InetSocketAddress address() {
    return new InetSocketAddress(listener.getInetAddress(), listener.getLocalPort());
  }

  /** What the connecting rank sends. */
  public Direction toTarget() {
    return toTarget;
  }

  /** What the target sends. */
  public Direction fromTarget() {
    return fromTarget;
  }

  /** Lets nothing pass in either direction, and tells nobody: a pulled cable. */
  public void stop() {
    toTarget.stop();
    fromTarget.stop();
  }

  /** Ends all faults of both directions; connections that were cut stay so. */
  public void heal() {
    toTarget.heal();
    fromTarget.heal();
  }

  /** Resets all connections, also where nothing passes. New ones are welcome. */
  public synchronized void cut() {
    connections.forEach(Connection::reset);
    connections.clear();
  }

  private void accept() {
    try {
      while (true) {
        Socket source = listener.accept();
        try {
          join(new Connection(source, new Socket(target.getAddress(), target.getPort())));
        } catch (IOException e) {
          Connection.reset(source); // as the target would have refused it
        }
      }
    } catch (IOException e) {
      // closed
    }
  }

  private synchronized void join(Connection connection) throws IOException {
    if (isClosed) {
      connection.close();
      return;
    }
    connections.removeIf(old -> old.source().isClosed());
    connections.add(connection);
    Socket source = connection.source();
    Socket sink = connection.sink();
    source.setTcpNoDelay(true);
    sink.setTcpNoDelay(true);
    start(new Pump(toTarget, connection, source, sink));
    start(new Pump(fromTarget, connection, sink, source));
  }

  private void start(Pump pump) {
    start(pump::read);
    start(pump::deliver);
  }

  /** What a thread does until it is done or interrupted by {@link #close}. */
  private interface Task {
    void run() throws InterruptedException;
  }

  private synchronized void start(Task task) {
    Thread thread =
        new Thread(
            () -> {
              try {
                task.run();
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            threadName(address()));
    thread.setDaemon(true);
    thread.start();
    threads.removeIf(old -> !old.isAlive());
    threads.add(thread);
  }

  /** Closes all connections and waits until no thread is left. */
  @Override
  public void close() throws IOException, InterruptedException {
    List<Thread> running;
    synchronized (this) {
      isClosed = true;
      listener.close();
      connections.forEach(Connection::close);
      connections.clear();
      running = List.copyOf(threads);
    }
    toTarget.close();
    fromTarget.close();
    running.forEach(Thread::interrupt);
    for (Thread thread : running) {
      thread.join(CLOSING_MILLIS);
      if (thread.isAlive()) {
        throw new IllegalStateException(
            thread.getName() + " still runs " + CLOSING_MILLIS + " ms after it was closed");
      }
    }
  }
}
