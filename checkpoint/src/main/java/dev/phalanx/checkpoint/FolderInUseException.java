package dev.phalanx.checkpoint;

import java.nio.file.Path;

/** No checkpoint can be written to a folder since somebody else writes there. */
public final class FolderInUseException extends CheckpointWriteException {
  private static final long serialVersionUID = 1L;

  /**
   * @param folder of the checkpoints
   * @param holder who writes there, for people
   */
  public FolderInUseException(Path folder, String holder) {
    super(
        "Another job writes its checkpoints to "
            + folder
            + " ("
            + holder
            + "). Wait for its end or stop it, or name another folder (checkpoint.dir).");
  }
}
