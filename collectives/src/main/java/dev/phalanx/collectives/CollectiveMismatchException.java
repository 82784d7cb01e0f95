package dev.phalanx.collectives;

/**
 * Ranks called different operations at the same place of their sequence. The message names both
 * ranks and both calls.
 */
public final class CollectiveMismatchException extends CollectiveException {
  private static final long serialVersionUID = 1L;

  public CollectiveMismatchException(String message) {
    super(message);
  }
}
