package dev.phalanx.collectives;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.TestGroup.Network;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Tensors of more bytes than an int can count. */
@Timeout(600)
final class LargeTensorTest {
  private static final Duration LONG = Duration.ofSeconds(60);
  private static final long BYTES = (1L << 31) + 12_345;

  /** Host memory that nobody frees. */
  private abstract static class HostMemory implements Storage {
    private final long byteSize;

    HostMemory(long byteSize) {
      this.byteSize = byteSize;
    }

    @Override
    public Device device() {
      return Device.CPU;
    }

    @Override
    public long byteSize() {
      return byteSize;
    }

    @Override
    public long address() {
      return System.identityHashCode(this) * 1_000_000_000_000L; // only compared
    }

    @Override
    public void free() {}
  }

  /** Of which each byte follows from its place: reading takes no more memory than a window. */
  private static class Pattern extends HostMemory {
    private static final int PERIOD = 8191; // 2^31 is no multiple of it
    private static final int LONGEST = 1 << 20;
    private static final ByteBuffer CONTENT = content();

    Pattern(long byteSize) {
      super(byteSize);
    }

    private static ByteBuffer content() {
      ByteBuffer content = ByteBuffer.allocateDirect(PERIOD + LONGEST);
      for (int i = 0; i < content.capacity(); i++) {
        content.put(i, (byte) (i % PERIOD * 31));
      }
      return content;
    }

    static ByteBuffer at(long byteOffset, int byteCount) {
      return CONTENT.slice((int) (byteOffset % PERIOD), byteCount).order(ByteOrder.nativeOrder());
    }

    @Override
    public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
      return at(byteOffset, byteCount);
    }
  }

  /** Looks at each window, before it gives out the next one, whether the pattern was written. */
  private static final class PatternSink extends Pattern {
    private final ByteBuffer memory = ByteBuffer.allocateDirect(Pattern.LONGEST);
    private long offset;
    private int count;
    private long seen;

    PatternSink(long byteSize) {
      super(byteSize);
    }

    @Override
    public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
      requireWritten();
      offset = byteOffset;
      count = byteCount;
      seen += byteCount;
      return memory.slice(0, byteCount).order(ByteOrder.nativeOrder());
    }

    void requireWritten() {
      int difference = memory.slice(0, count).mismatch(at(offset, count));
      if (difference >= 0) {
        throw new AssertionError("byte " + (offset + difference) + " is wrong");
      }
    }

    void requireAllWritten() {
      requireWritten();
      assertThat(seen).as("bytes that were written").isEqualTo(byteSize());
    }
  }

  private static Tensor tensor(Storage storage) {
    return Tensor.over(storage, 0, DType.UINT8, Shape.of(storage.byteSize()));
  }

  @ParameterizedTest
  @EnumSource(
      value = Network.class,
      names = {"IN_PROCESS", "SHARED_MEMORY"})
  void aBroadcastMovesMoreBytesThanAnIntCanCount(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      group.run(
          communicator -> {
            if (communicator.rank() == 0) {
              communicator.broadcast(tensor(new Pattern(BYTES)), 0).await();
              assertThat(communicator.traffic().bytesSent()).isEqualTo(BYTES);
            } else {
              PatternSink sink = new PatternSink(BYTES);
              communicator.broadcast(tensor(sink), 0).await();
              sink.requireAllWritten();
            }
            return true;
          });
    }
  }

  @Test
  void partsBeginBeyondWhatAnIntCanCount() throws Exception {
    long part = BYTES / 2;
    long[] counts = {part * 2, 1000, 2000}; // of the last two, both begin past 2^31
    try (TestGroup group = new TestGroup(Network.IN_PROCESS, 3, LONG)) {
      group.run(
          communicator -> {
            if (communicator.rank() == 0) {
              PatternSink received = new PatternSink(part * 2 + 3000);
              Tensor whole = tensor(received);
              communicator
                  .exchange(
                      List.of(
                          new PointToPoint.Receive(whole.slice(0, counts[0], 1000), 1, 0),
                          new PointToPoint.Receive(whole.slice(0, counts[0] + 1000, 2000), 2, 0)))
                  .await();
              received.requireWritten();
            } else {
              int own = communicator.rank();
              Tensor whole = tensor(new Pattern(part * 2 + 3000));
              communicator
                  .send(whole.slice(0, counts[0] + (own - 1) * 1000L, counts[own]), 0, 0)
                  .await();
            }
            return true;
          });
    }
  }

  /** A sparse file that is mapped in regions which overlap by as much as a piece may have. */
  private static final class MappedStorage extends HostMemory {
    private static final long REGION = 1L << 30;
    private static final int OVERLAP = 1 << 20;

    private final List<ByteBuffer> regions = new ArrayList<>();

    MappedStorage(Path file, long byteSize) {
      super(byteSize);
      try (FileChannel channel =
          FileChannel.open(
              file,
              StandardOpenOption.CREATE_NEW,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE)) {
        for (long start = 0; start < byteSize; start += REGION) {
          long length = Math.min(REGION + OVERLAP, byteSize - start);
          regions.add(channel.map(FileChannel.MapMode.READ_WRITE, start, length));
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
      return regions
          .get((int) (byteOffset / REGION))
          .slice((int) (byteOffset % REGION), byteCount)
          .order(ByteOrder.nativeOrder());
    }
  }

  /** With memory of its own for all of it: {@code ./phalanx test -Plong-tests}. */
  @Test
  @Tag("long")
  void anAllReduceOfMoreBytesThanAnIntCanCountIsRight(@TempDir Path folder) throws Exception {
    int piece = 1 << 18;
    for (Algorithm algorithm : List.of(Algorithm.RING, Algorithm.TREE)) {
      try (TestGroup group =
          new TestGroup(Network.IN_PROCESS, 2, new GroupOptions(algorithm, LONG, 1))) {
        List<Path> files =
            group.run(
                communicator -> {
                  Path file = folder.resolve(algorithm + "-" + communicator.rank());
                  MappedStorage storage = new MappedStorage(file, BYTES);
                  for (long at = 0; at < BYTES; at += piece) {
                    int count = (int) Math.min(piece, BYTES - at);
                    storage.byteBuffer(at, count).put(Pattern.at(at, count));
                  }
                  communicator.allReduce(tensor(storage), ReduceOperation.MAXIMUM).await();
                  for (long at = 0; at < BYTES; at += piece) {
                    int count = (int) Math.min(piece, BYTES - at);
                    assertThat(storage.byteBuffer(at, count).mismatch(Pattern.at(at, count)))
                        .as("first byte that differs from %d on", at)
                        .isNegative();
                  }
                  return file;
                },
                Duration.ofMinutes(8));
        for (Path file : files) {
          Files.delete(file);
        }
      }
    }
  }
}
