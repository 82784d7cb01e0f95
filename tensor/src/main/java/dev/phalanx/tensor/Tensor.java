package dev.phalanx.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * An n-dimensional array in native memory: a block of memory, an element type, a shape and strides.
 *
 * <p>A tensor made by an {@link Arena} owns its block until {@link #close} gives it back to the
 * arena, or the arena is closed. A view ({@link #reshape}, {@link #slice}, {@link #transpose})
 * shares the block and ends with the tensor that it was made from; closing a view frees no memory,
 * but whoever makes views of a long-lived tensor again and again closes them. A tensor may be read
 * by any thread, but it is made, viewed and closed by the thread that uses its arena.
 */
public final class Tensor implements AutoCloseable {
  private final Storage storage;
  private final DType dtype;
  private final Shape shape;
  private final long[] strides;
  private final long offset;
  private final @Nullable Arena arena;
  private final @Nullable Tensor base;
  private @Nullable Set<Tensor> views;
  private @Nullable AutoCloseable engineHandle;
  private boolean closed;

  private Tensor(
      Storage storage,
      DType dtype,
      Shape shape,
      long[] strides,
      long offset,
      @Nullable Arena arena,
      @Nullable Tensor base) {
    this.storage = storage;
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.arena = arena;
    this.base = base;
  }

  static Tensor owned(Arena arena, Storage storage, DType dtype, Shape shape) {
    return new Tensor(storage, dtype, shape, shape.contiguousStrides(), 0, arena, null);
  }

  /**
   * A contiguous tensor over memory that somebody else owns and keeps alive, from {@code
   * byteOffset}, a multiple of the element's size. Closing it frees no memory.
   */
  public static Tensor over(Storage storage, long byteOffset, DType dtype, Shape shape) {
    long end = Math.addExact(byteOffset, dtype.bytes(shape.elementCount()));
    if (byteOffset < 0 || byteOffset % dtype.byteSize() != 0 || end > storage.byteSize()) {
      throw new IllegalArgumentException(
          "A "
              + dtype
              + " tensor of shape "
              + shape
              + " at byte "
              + byteOffset
              + " does not fit a block of "
              + storage.byteSize()
              + " bytes");
    }
    return strided(storage, byteOffset / dtype.byteSize(), dtype, shape, shape.contiguousStrides());
  }

  /** {@link #over} with any strides; the caller sees to it that all elements lie in the block. */
  static Tensor strided(Storage storage, long offset, DType dtype, Shape shape, long[] strides) {
    return new Tensor(storage, dtype, shape, strides.clone(), offset, null, null);
  }

  public DType dtype() {
    return dtype;
  }

  public Shape shape() {
    return shape;
  }

  public long size(int dimension) {
    return shape.size(dimension);
  }

  public long elementCount() {
    return shape.elementCount();
  }

  /** Bytes of the elements, without any gaps between them. */
  public long byteSize() {
    return dtype.bytes(elementCount());
  }

  public Device device() {
    return storage.device();
  }

  public Storage storage() {
    return storage;
  }

  /** The stride of a dimension in elements. */
  public long stride(int dimension) {
    return strides[shape.normalize(dimension)];
  }

  public long[] strides() {
    return strides.clone();
  }

  /** The first element's place in the block, in elements. */
  public long offset() {
    return offset;
  }

  /** The first element's address on its device. */
  public long address() {
    return storage.address() + dtype.bytes(offset);
  }

  /** Whether the elements lie row by row without gaps. */
  public boolean isContiguous() {
    long expected = 1;
    for (int i = shape.rank() - 1; i >= 0; i--) {
      if (shape.size(i) != 1) {
        if (strides[i] != expected) {
          return elementCount() == 0;
        }
        expected *= shape.size(i);
      }
    }
    return true;
  }

  /**
   * A view of a contiguous tensor with other dimensions but as many elements. One size may be -1:
   * it follows.
   */
  public Tensor reshape(long... sizes) {
    requireContiguous("reshape");
    long[] resolved = sizes.clone();
    int open = -1;
    long known = 1;
    for (int i = 0; i < resolved.length; i++) {
      if (resolved[i] == -1 && open < 0) {
        open = i;
      } else {
        known = Math.multiplyExact(known, resolved[i]);
      }
    }
    if (open >= 0) {
      resolved[open] = known == 0 ? 0 : elementCount() / known;
    }
    Shape reshaped = Shape.of(resolved);
    if (reshaped.elementCount() != elementCount()) {
      throw new IllegalArgumentException(
          "Shape "
              + shape
              + " of "
              + elementCount()
              + " elements cannot become "
              + Shape.of(resolved));
    }
    return view(reshaped, reshaped.contiguousStrides(), offset);
  }

  /** The view of {@code length} entries of a dimension from {@code start}. */
  public Tensor slice(int dimension, long start, long length) {
    int sliced = shape.normalize(dimension);
    if (start < 0 || length < 0 || start + length > shape.size(sliced)) {
      throw new IndexOutOfBoundsException(
          "Entries "
              + start
              + " to "
              + (start + length)
              + " of dimension "
              + dimension
              + " of "
              + shape);
    }
    return view(shape.with(sliced, length), strides, offset + start * strides[sliced]);
  }

  /** The view with two dimensions exchanged. */
  public Tensor transpose(int first, int second) {
    int a = shape.normalize(first);
    int b = shape.normalize(second);
    long[] sizes = shape.toArray();
    long[] exchanged = strides.clone();
    sizes[a] = shape.size(b);
    sizes[b] = shape.size(a);
    exchanged[a] = strides[b];
    exchanged[b] = strides[a];
    return view(Shape.of(sizes), exchanged, offset);
  }

  private Tensor view(Shape viewShape, long[] viewStrides, long viewOffset) {
    requireOpen();
    Tensor root = base == null ? this : base;
    Tensor view = new Tensor(storage, dtype, viewShape, viewStrides, viewOffset, null, root);
    if (root.views == null) {
      root.views = new HashSet<>(4);
    }
    root.views.add(view);
    return view;
  }

  /**
   * A buffer over a part of a contiguous tensor, in host byte order, without a copy.
   *
   * @param byteOffset from the tensor's first element
   */
  public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
    requireContiguous("byteBuffer");
    requireOpen();
    if (byteOffset < 0 || byteCount < 0 || byteOffset + byteCount > byteSize()) {
      throw new IndexOutOfBoundsException(
          "Bytes "
              + byteOffset
              + " to "
              + (byteOffset + byteCount)
              + " of a tensor of "
              + byteSize());
    }
    return storage
        .byteBuffer(dtype.bytes(offset) + byteOffset, byteCount)
        .order(ByteOrder.nativeOrder());
  }

  /**
   * What the engine keeps with this tensor (its own tensor object, as a rule), or null. The engine
   * alone calls this.
   */
  public @Nullable AutoCloseable engineHandle() {
    return engineHandle;
  }

  /** Lets the engine keep something with this tensor; it is closed together with the tensor. */
  public void attachEngineHandle(AutoCloseable handle) {
    requireOpen();
    this.engineHandle = handle;
  }

  public boolean isClosed() {
    return closed || (base != null && base.closed);
  }

  /**
   * Ends this tensor and its views; the block of an owner goes back to its arena. Calling it again
   * does nothing.
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    if (views != null) {
      for (Tensor view : views) {
        view.end();
      }
      views = null;
    }
    end();
    if (base != null && base.views != null) {
      base.views.remove(this);
    }
    if (arena != null) {
      arena.takeBack(this);
    }
  }

  private void end() {
    closed = true;
    AutoCloseable handle = engineHandle;
    engineHandle = null;
    if (handle != null) {
      try {
        handle.close();
      } catch (Exception e) {
        throw new IllegalStateException("The engine's part of " + this + " could not be closed", e);
      }
    }
  }

  private void requireOpen() {
    if (isClosed()) {
      throw new IllegalStateException("The " + this + " was used after it was closed");
    }
  }

  private void requireContiguous(String operation) {
    if (!isContiguous()) {
      throw new IllegalArgumentException(
          operation + " needs a contiguous tensor, not the view " + this);
    }
  }

  @Override
  public String toString() {
    return dtype + " tensor " + shape + " on " + device();
  }
}
