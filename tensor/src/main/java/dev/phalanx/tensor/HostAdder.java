package dev.phalanx.tensor;

import java.nio.FloatBuffer;
import java.util.Optional;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

/**
 * Adds runs of numbers in host memory with a native library's vector instructions, which the JVM
 * does not use for memory outside of its heap. An engine's module may bring one; it is named in
 * {@code META-INF/services}. Any thread may call it, several at once.
 */
public interface HostAdder {
  /** {@code into[i] += from[i]}; both direct, in native order, with as many numbers. */
  void add(FloatBuffer from, FloatBuffer into);

  /** The first one on the class path that works here. */
  static Optional<HostAdder> find() {
    try {
      return ServiceLoader.load(HostAdder.class).findFirst();
    } catch (LinkageError | RuntimeException | ServiceConfigurationError e) {
      return Optional.empty(); // its library cannot be loaded: the engine will say why
    }
  }
}
