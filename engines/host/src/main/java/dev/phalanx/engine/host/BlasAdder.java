package dev.phalanx.engine.host;

import dev.phalanx.tensor.HostAdder;
import java.nio.FloatBuffer;
import org.bytedeco.openblas.global.openblas;

/** Sums by OpenBLAS. */
public final class BlasAdder implements HostAdder {
  /** Called by {@link java.util.ServiceLoader}. */
  public BlasAdder() {
    NativeLibraries.locateOpenBlas();
    openblas.blas_set_num_threads(1);
  }

  @Override
  public void add(FloatBuffer from, FloatBuffer into) {
    openblas.cblas_saxpy(into.remaining(), 1, from, 1, into, 1);
  }
}
