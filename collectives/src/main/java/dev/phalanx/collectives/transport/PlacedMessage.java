package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;

/**
 * A message whose content is where the receiver wanted it, or in memory that its link uses again
 * for the next one: there is nothing to give back.
 */
public final class PlacedMessage extends FramedMessage {
  private final ByteBuffer content;
  private final boolean isInPlace;

  public PlacedMessage(Frame frame, ByteBuffer content, boolean isInPlace) {
    super(frame);
    this.content = content;
    this.isInPlace = isInPlace;
  }

  @Override
  public boolean isInPlace() {
    return isInPlace;
  }

  @Override
  public ByteBuffer payload() {
    return content;
  }

  @Override
  public void close() {}
}
