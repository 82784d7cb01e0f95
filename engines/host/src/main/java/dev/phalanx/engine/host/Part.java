package dev.phalanx.engine.host;

import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What one thread of a team does of a kernel: a range of rows, or of columns, or of whatever the
 * kernel is divided by. It makes and closes the views of its range; tensors that all parts read are
 * views as well, since the engine's part of a tensor belongs to one thread.
 */
final class Part implements AutoCloseable {
  private final int index;
  private final long start;
  private final long count;
  private final boolean isWhole;
  private final List<Tensor> views = new ArrayList<>(8);

  private Part(int index, long start, long count, boolean isWhole) {
    this.index = index;
    this.start = start;
    this.count = count;
    this.isWhole = isWhole;
  }

  static Part whole() {
    return new Part(0, 0, 0, true);
  }

  static Part of(int index, int parts, long count) {
    long start = count * index / parts;
    return new Part(index, start, count * (index + 1) / parts - start, false);
  }

  int index() {
    return index;
  }

  /** The range's first row. */
  long start() {
    return start;
  }

  boolean isWhole() {
    return isWhole;
  }

  /** The part's rows of a tensor. */
  Tensor rows(Tensor tensor) {
    return along(tensor, 0);
  }

  @Nullable Tensor rowsOrNull(@Nullable Tensor tensor) {
    return tensor == null ? null : rows(tensor);
  }

  /** The part's range of any dimension. */
  Tensor along(Tensor tensor, int dimension) {
    return isWhole ? tensor : keep(tensor.slice(dimension, start, count));
  }

  /** A range of a dimension that has {@code ratio} entries for each that is divided. */
  Tensor along(Tensor tensor, int dimension, long ratio) {
    return isWhole ? tensor : keep(tensor.slice(dimension, start * ratio, count * ratio));
  }

  @Nullable Tensor alongOrNull(@Nullable Tensor tensor, int dimension) {
    return tensor == null ? null : along(tensor, dimension);
  }

  /** All of a tensor. */
  Tensor all(Tensor tensor) {
    return isWhole || tensor.shape().rank() == 0
        ? tensor
        : keep(tensor.slice(0, 0, tensor.size(0)));
  }

  @Nullable Tensor allOrNull(@Nullable Tensor tensor) {
    return tensor == null ? null : all(tensor);
  }

  private Tensor keep(Tensor view) {
    views.add(view);
    return view;
  }

  @Override
  public void close() {
    views.forEach(Tensor::close);
  }
}
