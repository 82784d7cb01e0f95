package dev.phalanx.tensor;

/**
 * Opens engines of one kind. Named in {@code META-INF/services}. Loading the class must not load
 * native code.
 */
public interface EngineProvider {
  /** The name that a plan file writes for it. */
  String name();

  /** The larger one wins where a plan file says {@code engine: auto}. */
  int priority();

  /**
   * Opens an engine for one rank. Native libraries are loaded here.
   *
   * @throws IllegalStateException where they cannot be, with the reason and what to do
   */
  Engine open(EngineOptions options);
}
