package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.rendezvous.wire.Way;
import dev.phalanx.collectives.transport.GroupId;

/** Ways between ranks as they travel. */
final class Ways {
  private Ways() {}

  static Way write(Deliveries.Way way) {
    return Way.newBuilder()
        .setGroup(way.group().number())
        .setGeneration(way.group().generation())
        .setStream(way.stream())
        .build();
  }

  static Deliveries.Way read(Way way) {
    return new Deliveries.Way(new GroupId(way.getGroup(), way.getGeneration()), way.getStream());
  }
}
