package dev.phalanx.trainer;

import dev.phalanx.collectives.CollectiveException;

/**
 * Rank 0 could not write a checkpoint: what every other rank throws, while rank 0 throws the {@link
 * dev.phalanx.checkpoint.CheckpointWriteException} itself.
 */
public final class RankZeroWriteException extends CollectiveException {
  private static final long serialVersionUID = 1L;

  /**
   * @param reason what rank 0 says, in sentences
   */
  public RankZeroWriteException(String reason) {
    super(
        "rank 0 could not write the checkpoint, so this rank does not go on either. Rank 0 says: "
            + reason);
  }
}
