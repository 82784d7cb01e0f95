package dev.phalanx.engine.host;

import org.bytedeco.javacpp.FloatPointer;

/**
 * A place in memory that can be moved, among fp32 numbers where it is read as such: one object
 * serves a whole loop of a library's calls.
 */
public final class FloatAddress extends FloatPointer {
  public FloatAddress moveTo(long newAddress) {
    this.address = newAddress;
    return this;
  }
}
