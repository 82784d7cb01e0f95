package dev.phalanx.trainer.data;

import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Objects;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * Tokens in a memory-mapped stretch of a file. One buffer reaches 2^31 bytes only, so the stretch
 * is mapped in segments.
 *
 * <p>Readers share a lock that {@link #close()} takes alone: closing unmaps the file at once, and a
 * read of memory that is not mapped any more would end the process.
 */
final class MappedTokens implements AutoCloseable {
  static final long DEFAULT_SEGMENT_BYTES = 1L << 30;

  private final String name;
  private final long count;
  private final TokenWidth width;
  private final long tokensPerSegment;
  private final MappedByteBuffer[] segments;
  private final ReadWriteLock mapping = new ReentrantReadWriteLock();
  private boolean closed; // under the lock

  /**
   * @param start the first token's byte in the file
   * @param segmentBytes a multiple of 4, at most 2^30
   */
  MappedTokens(Path file, long start, long count, TokenWidth width, long segmentBytes)
      throws IOException {
    this.name = file.toString();
    this.count = count;
    this.width = width;
    this.tokensPerSegment = segmentBytes / width.bytes();
    long bytes = Math.multiplyExact(count, (long) width.bytes());
    segments = new MappedByteBuffer[Math.toIntExact((bytes + segmentBytes - 1) / segmentBytes)];
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      for (int i = 0; i < segments.length; i++) {
        long from = i * segmentBytes;
        MappedByteBuffer segment =
            channel.map(
                FileChannel.MapMode.READ_ONLY, start + from, Math.min(segmentBytes, bytes - from));
        segment.order(ByteOrder.LITTLE_ENDIAN);
        segments[i] = segment;
      }
    }
  }

  long count() {
    return count;
  }

  void read(long start, int length, long[] out, int offset) {
    Objects.checkFromIndexSize(start, length, count);
    Objects.checkFromIndexSize(offset, length, out.length);
    mapping.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException(name + " is closed");
      }
      int done = 0;
      while (done < length) {
        long token = start + done;
        long inSegment = token % tokensPerSegment;
        int part = (int) Math.min(length - done, tokensPerSegment - inSegment);
        width.get(
            segments[(int) (token / tokensPerSegment)],
            (int) (inSegment * width.bytes()),
            part,
            out,
            offset + done);
        done += part;
      }
    } finally {
      mapping.readLock().unlock();
    }
  }

  @Override
  public void close() {
    mapping.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        for (MappedByteBuffer segment : segments) {
          Unmapping.unmap(segment);
        }
      }
    } finally {
      mapping.writeLock().unlock();
    }
  }
}
