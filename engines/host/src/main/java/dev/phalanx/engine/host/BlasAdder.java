package dev.phalanx.engine.host;

import dev.phalanx.tensor.HostAdder;
import java.nio.FloatBuffer;
import org.bytedeco.openblas.global.openblas;

/**
 * Sums by OpenBLAS, on the thread that asks for them. OpenBLAS' number of threads is the whole
 * process' and stays what it is, so it is asked for pieces which it does not divide.
 */
public final class BlasAdder implements HostAdder {
  /** OpenBLAS divides vectors of more than 10,000 elements among its threads. */
  private static final int PIECE = 8192;

  /** Called by {@link java.util.ServiceLoader}. */
  public BlasAdder() {
    NativeLibraries.locateOpenBlas();
  }

  @Override
  public void add(FloatBuffer from, FloatBuffer into) {
    FloatBuffer source = from.duplicate();
    FloatBuffer sum = into.duplicate();
    int count = into.remaining();
    for (int start = 0; start < count; start += PIECE) {
      source.position(from.position() + start);
      sum.position(into.position() + start);
      openblas.cblas_saxpy(Math.min(PIECE, count - start), 1, source, 1, sum, 1);
    }
  }
}
