package dev.phalanx.engine.torch;

import org.bytedeco.javacpp.FloatPointer;

/** A place among fp32 numbers that can be moved: one object serves a whole loop of BLAS calls. */
final class FloatAddress extends FloatPointer {
  FloatAddress moveTo(long newAddress) {
    this.address = newAddress;
    return this;
  }
}
