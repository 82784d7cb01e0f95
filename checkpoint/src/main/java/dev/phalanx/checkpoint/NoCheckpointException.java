package dev.phalanx.checkpoint;

import java.io.IOException;
import java.nio.file.Path;

/** A folder holds no checkpoint. */
public final class NoCheckpointException extends IOException {
  private static final long serialVersionUID = 1L;

  /**
   * @param folder that was looked into
   */
  public NoCheckpointException(Path folder) {
    super(
        "There is no checkpoint in "
            + folder
            + ". Name a step-... folder or the folder that holds them.");
  }
}
