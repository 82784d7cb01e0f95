package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.status.RankStatus;
import java.util.Optional;

/** Statuses as they travel. */
final class Statuses {
  private static final int NOBODY = -1;

  private Statuses() {}

  static dev.phalanx.collectives.rendezvous.wire.RankStatus write(RankStatus status) {
    return dev.phalanx.collectives.rendezvous.wire.RankStatus.newBuilder()
        .setGroup(status.group())
        .setRank(status.rank())
        .setLastFinished(status.lastFinished().orElse(""))
        .setCurrent(status.current().orElse(""))
        .setWaitsFor(status.waitsFor().orElse(NOBODY))
        .setMillis(status.millis())
        .build();
  }

  static RankStatus read(dev.phalanx.collectives.rendezvous.wire.RankStatus status) {
    return new RankStatus(
        status.getGroup(),
        status.getRank(),
        text(status.getLastFinished()),
        text(status.getCurrent()),
        status.getWaitsFor() < 0 ? Optional.empty() : Optional.of(status.getWaitsFor()),
        status.getMillis());
  }

  private static Optional<String> text(String text) {
    return text.isEmpty() ? Optional.empty() : Optional.of(text);
  }
}
