package dev.phalanx.engine.host;

import org.bytedeco.javacpp.Pointer;

/**
 * A place in memory that somebody else owns, as JavaCPP wants it: nothing to free, nothing kept.
 */
public final class HostAddress extends Pointer {
  public HostAddress(long address) {
    this.address = address;
  }

  public HostAddress(long address, long byteCount) {
    this.address = address;
    this.limit = byteCount;
    this.capacity = byteCount;
  }

  /** Without this JavaCPP takes the elements of an unknown class for as large as an address. */
  @Override
  public int sizeof() {
    return Byte.BYTES;
  }
}
