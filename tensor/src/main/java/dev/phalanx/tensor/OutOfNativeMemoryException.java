package dev.phalanx.tensor;

/** A device has no room for a block of this size. */
public final class OutOfNativeMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public OutOfNativeMemoryException(Device device, long bytes, Throwable cause) {
    super(
        "There is no room for a block of "
            + bytes
            + " bytes on "
            + device
            + ". Lower batch.micro, model.sequence or the model's size, or use more ranks.",
        cause);
  }
}
