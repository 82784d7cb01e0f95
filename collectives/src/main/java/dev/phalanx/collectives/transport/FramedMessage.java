package dev.phalanx.collectives.transport;

/** A message that came as a {@link Frame}. */
public abstract class FramedMessage implements Message {
  private final Frame frame;

  protected FramedMessage(Frame frame) {
    this.frame = frame;
  }

  @Override
  public final Call call() {
    return frame.call();
  }

  @Override
  public final int piece() {
    return frame.piece();
  }

  /** The length that the header gives. */
  protected final int payloadBytes() {
    return frame.payloadBytes();
  }
}
