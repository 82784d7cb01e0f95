package dev.phalanx.tensor;

/**
 * Where a tensor's memory lies. Kernels take tensors of one device; {@link Engine#copy} alone moves
 * data between two.
 *
 * @param kind the kind of device
 * @param index which of its kind on this host, from 0
 */
public record Device(Kind kind, int index) {
  /** The kinds of device that engines know. */
  public enum Kind {
    CPU,
    CUDA
  }

  /** The host's own memory. */
  public static final Device CPU = new Device(Kind.CPU, 0);

  public Device {
    if (index < 0) {
      throw new IllegalArgumentException("Device index " + index + " is negative");
    }
  }

  public boolean isCpu() {
    return kind == Kind.CPU;
  }

  @Override
  public String toString() {
    return kind == Kind.CPU ? "cpu" : "cuda:" + index;
  }
}
