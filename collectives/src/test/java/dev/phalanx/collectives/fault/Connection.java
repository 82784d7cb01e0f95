package dev.phalanx.collectives.fault;

import java.io.IOException;
import java.net.Socket;

/**
 * The two sockets of a connection through a proxy. Any thread may call its methods.
 *
 * @param source of the rank that connected
 * @param sink of the rank that it connected to
 */
record Connection(Socket source, Socket sink) {
  /** An orderly end of the stream into a socket; both are closed when the other ended before. */
  void end(Socket receiver) throws IOException {
    receiver.shutdownOutput();
    if (source.isOutputShutdown() && sink.isOutputShutdown()) {
      close();
    }
  }

  /** Both ends see a reset. */
  void reset() {
    reset(source);
    reset(sink);
  }

  static void reset(Socket socket) {
    try {
      socket.setSoLinger(true, 0);
    } catch (IOException e) {
      // closed already
    }
    close(socket);
  }

  void close() {
    close(source);
    close(sink);
  }

  private static void close(Socket socket) {
    try {
      socket.close();
    } catch (IOException e) {
      throw new IllegalStateException("A socket cannot be closed", e);
    }
  }
}
