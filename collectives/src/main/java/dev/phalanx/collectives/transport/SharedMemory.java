package dev.phalanx.collectives.transport;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Makes blocks of memory that all ranks of a group can read. One thread. The ranks call {@link
 * #create}, agree that all have, call {@link #attach} for each other, agree again, then {@link
 * #hide}.
 */
public interface SharedMemory {
  /** A block by its maker's rank, as long as all know it by its number. */
  ByteBuffer create(int block, int bytes) throws IOException;

  /** A peer's block, for reading. */
  ByteBuffer attach(int peer, int block, int bytes) throws IOException;

  /** Takes this rank's block from the sight of processes that have not attached it. */
  void hide(int block);
}
