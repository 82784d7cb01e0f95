package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.PointToPoint;
import java.util.List;

/** Sends and receives between pairs of ranks. Sends do not wait, so that no order locks up. */
public final class Transfers {
  private Transfers() {}

  public static void run(Exchange exchange, List<PointToPoint> transfers)
      throws InterruptedException {
    for (PointToPoint transfer : transfers) {
      if (transfer instanceof PointToPoint.Send send) {
        exchange.transferTo(send.peer(), send.tensor(), send.tag());
      }
    }
    for (PointToPoint transfer : transfers) {
      if (transfer instanceof PointToPoint.Receive receive) {
        exchange.transferFrom(receive.peer(), receive.tensor(), receive.tag());
      }
    }
    exchange.flush();
  }
}
