package dev.phalanx.engine.host;

import org.bytedeco.javacpp.FloatPointer;

/** A place among fp32 numbers that can be moved: one object serves a whole loop of BLAS calls. */
public final class FloatAddress extends FloatPointer {
  public FloatAddress moveTo(long newAddress) {
    this.address = newAddress;
    return this;
  }
}
