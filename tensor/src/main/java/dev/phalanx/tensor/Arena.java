package dev.phalanx.tensor;

import java.util.ArrayDeque;
import java.util.Collections;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Owner of tensors on one device. Blocks of closed tensors are kept and handed out again, so that a
 * training step, which asks for the same sizes every time, allocates nothing after the first;
 * {@link #close} gives all of them back.
 *
 * <p>A kept block serves a request of its own size or at most an eighth smaller. What is held is at
 * most twice what has been in use at once. An arena is used by one thread.
 */
public final class Arena implements AutoCloseable {
  /** Blocks are multiples of this: a cache line, and what vector instructions want as alignment. */
  private static final long GRANULE = 64;

  /** Times what has been in use at once. */
  private static final long MOST_RESERVED = 2;

  private final Engine engine;
  private final Device device;
  private final Set<Tensor> live = Collections.newSetFromMap(new IdentityHashMap<>());
  private final TreeMap<Long, Kept> kept = new TreeMap<>();
  private long requests;
  private long bytesInUse;
  private long peakBytesInUse;
  private long bytesReserved;
  private boolean closed;

  /** Blocks of one size that nobody uses. */
  private static final class Kept {
    final ArrayDeque<Storage> blocks = new ArrayDeque<>();
    long lastRequest; // when one of them was last asked for or came back
  }

  public Arena(Engine engine, Device device) {
    this.engine = engine;
    this.device = device;
  }

  public Engine engine() {
    return engine;
  }

  public Device device() {
    return device;
  }

  /** A tensor whose elements are not set to anything. */
  public Tensor allocate(DType dtype, Shape shape) {
    if (closed) {
      throw new IllegalStateException("The arena on " + device + " is closed");
    }
    long bytes = roundUp(Math.max(1, dtype.bytes(shape.elementCount())));
    Storage storage = takeKept(bytes);
    if (storage == null) {
      freeWhatIsOutOfUse(bytes);
      storage = fromEngine(bytes);
      bytesReserved += storage.byteSize();
    }
    bytesInUse += storage.byteSize();
    peakBytesInUse = Math.max(peakBytesInUse, bytesInUse);
    Tensor tensor = Tensor.owned(this, storage, dtype, shape);
    live.add(tensor);
    return tensor;
  }

  /** Kept blocks of other sizes may be what there is no room for. */
  private Storage fromEngine(long bytes) {
    try {
      return engine.allocate(device, bytes);
    } catch (OutOfNativeMemoryException e) {
      if (kept.isEmpty()) {
        throw e;
      }
      trim();
      return engine.allocate(device, bytes);
    }
  }

  public Tensor allocate(DType dtype, long... sizes) {
    return allocate(dtype, Shape.of(sizes));
  }

  /** A tensor of zeros. */
  public Tensor zeros(DType dtype, long... sizes) {
    Tensor tensor = allocate(dtype, Shape.of(sizes));
    engine.fill(tensor, 0);
    return tensor;
  }

  /** Bytes of the blocks that open tensors hold. */
  public long bytesInUse() {
    return bytesInUse;
  }

  /**
   * The most that {@link #bytesInUse} has been since the arena was made or {@link #resetPeak}
   * called.
   */
  public long peakBytesInUse() {
    return peakBytesInUse;
  }

  /** Bytes held from the engine, in use or kept for later. */
  public long bytesReserved() {
    return bytesReserved;
  }

  public void resetPeak() {
    peakBytesInUse = bytesInUse;
  }

  /** Gives the kept blocks back to the engine. */
  public void trim() {
    while (!kept.isEmpty()) {
      freeOneOf(kept.firstKey());
    }
  }

  /**
   * Where sizes change from step to step, as those of what an expert gets do, kept blocks of each
   * size would pile up: no more is held than twice what has been in use at once. The sizes that
   * have been of no use the longest go first.
   */
  private void freeWhatIsOutOfUse(long bytes) {
    long most = MOST_RESERVED * Math.max(peakBytesInUse, bytesInUse + bytes);
    while (bytesReserved + bytes > most && !kept.isEmpty()) {
      freeOneOf(
          kept.entrySet().stream()
              .min(Comparator.comparingLong(size -> size.getValue().lastRequest))
              .orElseThrow()
              .getKey());
    }
  }

  /** Of kept blocks of a size; the device may still read one. */
  private void freeOneOf(long size) {
    Storage storage = popKept(size);
    engine.synchronize(device);
    bytesReserved -= storage.byteSize();
    storage.free();
  }

  private Storage popKept(long size) {
    Kept ofSize = Objects.requireNonNull(kept.get(size));
    Storage storage = ofSize.blocks.pop();
    if (ofSize.blocks.isEmpty()) {
      kept.remove(size);
    }
    return storage;
  }

  void takeBack(Tensor tensor) {
    if (live.remove(tensor)) {
      Storage storage = tensor.storage();
      bytesInUse -= storage.byteSize();
      Kept size = kept.computeIfAbsent(storage.byteSize(), absent -> new Kept());
      size.lastRequest = requests;
      size.blocks.push(storage);
    }
  }

  private @Nullable Storage takeKept(long bytes) {
    requests++;
    Map.Entry<Long, Kept> entry = kept.ceilingEntry(bytes);
    if (entry == null || entry.getKey() > bytes + bytes / 8) {
      return null;
    }
    entry.getValue().lastRequest = requests;
    return popKept(entry.getKey());
  }

  private static long roundUp(long bytes) {
    return Math.multiplyExact((Math.addExact(bytes, GRANULE - 1)) / GRANULE, GRANULE);
  }

  /**
   * Closes every tensor of the arena and frees all memory. Work that still runs on the device is
   * awaited first.
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    engine.synchronize(device);
    for (Tensor tensor : live.toArray(Tensor[]::new)) {
      tensor.close();
    }
    trim();
    closed = true;
  }
}
