package dev.phalanx.collectives.transport.handshake;

import java.net.SocketAddress;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Connections to an endpoint that were closed because whoever opened them is not one of the job's
 * ranks. All are counted; the log tells of the first one only, for whoever scans ports comes often.
 */
public final class Refusals {
  private static final Logger LOGGER = LoggerFactory.getLogger(Refusals.class);

  private final AtomicLong count = new AtomicLong();

  /**
   * @param reason a clause that goes on after the address
   */
  public void add(@Nullable SocketAddress from, String reason) {
    if (count.getAndIncrement() == 0) {
      LOGGER.warn(
          "Refused a connection: {} {} Further ones are only counted.", from, ended(reason));
    } else {
      LOGGER.debug("Refused a connection: {} {}", from, reason);
    }
  }

  private static String ended(String reason) {
    return reason.endsWith(".") ? reason : reason + ".";
  }

  public long count() {
    return count.get();
  }
}
