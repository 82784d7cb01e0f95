package dev.phalanx.checkpoint.safetensors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;

/** A channel that takes few bytes at once, and fails as a full disk does after so many in all. */
public final class SmallDisk implements WritableByteChannel {
  /** What Linux says. */
  public static final String FULL = "No space left on device";

  private final WritableByteChannel target;
  private final int pieceBytes;
  private long room;

  public SmallDisk(WritableByteChannel target, long room, int pieceBytes) {
    this.target = target;
    this.room = room;
    this.pieceBytes = pieceBytes;
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    if (room == 0 && source.hasRemaining()) {
      throw new IOException(FULL);
    }
    int count = (int) Math.min(Math.min(source.remaining(), pieceBytes), room);
    ByteBuffer piece = source.slice(source.position(), count);
    while (piece.hasRemaining()) {
      target.write(piece);
    }
    source.position(source.position() + count);
    room -= count;
    return count;
  }

  @Override
  public boolean isOpen() {
    return target.isOpen();
  }

  @Override
  public void close() throws IOException {
    target.close();
  }
}
