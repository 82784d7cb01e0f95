package dev.phalanx.trainer;

/** A plan names a family of models whose module is not on the class path. */
public final class ModelFamilyNotFoundException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  ModelFamilyNotFoundException(String message) {
    super(message);
  }
}
