package dev.phalanx.collectives;

import dev.phalanx.tensor.Tensor;

/** One of the transfers of {@link Communicator#exchange}. */
public sealed interface PointToPoint {
  Tensor tensor();

  /** The rank at the other end. */
  int peer();

  /** From 0; tells messages between two ranks apart. */
  int tag();

  /** To {@code peer}. */
  record Send(Tensor tensor, int peer, int tag) implements PointToPoint {}

  /** From {@code peer}. */
  record Receive(Tensor tensor, int peer, int tag) implements PointToPoint {}
}
