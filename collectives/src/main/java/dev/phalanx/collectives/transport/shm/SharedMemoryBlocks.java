package dev.phalanx.collectives.transport.shm;

import dev.phalanx.collectives.transport.SharedMemory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;

/** Blocks of memory in a group's folder. */
final class SharedMemoryBlocks implements SharedMemory {
  private final SharedFolder folder;
  private final int rank;

  SharedMemoryBlocks(SharedFolder folder, int rank) {
    this.folder = folder;
    this.rank = rank;
  }

  @Override
  public ByteBuffer create(int block, int bytes) throws IOException {
    return folder.create(name(rank, block), bytes);
  }

  @Override
  public ByteBuffer attach(int peer, int block, int bytes) throws IOException {
    return folder.attach(name(peer, block), 0, bytes);
  }

  @Override
  public void hide(int block) {
    try {
      folder.hide(name(rank, block));
    } catch (IOException e) {
      throw new UncheckedIOException("Shared memory cannot be taken from sight", e);
    }
  }

  private static String name(int rank, int block) {
    return "rank-" + rank + "-block-" + block;
  }
}
