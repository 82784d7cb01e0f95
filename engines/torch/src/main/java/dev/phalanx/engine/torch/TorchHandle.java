package dev.phalanx.engine.torch;

import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.jspecify.annotations.Nullable;

/**
 * LibTorch's view of one of our tensors, with the forms of it that calls ask for again and again.
 * It lives with our tensor and owns none of its memory.
 */
final class TorchHandle implements AutoCloseable {
  private final Tensor tensor;
  private @Nullable Tensor transposed;
  private @Nullable IValue value;
  private @Nullable TensorOptional optional;

  TorchHandle(Tensor tensor) {
    this.tensor = tensor;
  }

  Tensor tensor() {
    return tensor;
  }

  /** The view with the two inner dimensions exchanged, or of [b, t, h, d] the one [b, h, t, d]. */
  Tensor transposed() {
    Tensor view = transposed;
    if (view == null) {
      view = tensor.dim() == 4 ? tensor.transpose(1, 2) : tensor.transpose(-2, -1);
      transposed = view;
    }
    return view;
  }

  /** For boxed calls. */
  IValue value() {
    IValue boxed = value;
    if (boxed == null) {
      boxed = new IValue(tensor);
      value = boxed;
    }
    return boxed;
  }

  TensorOptional optional() {
    TensorOptional present = optional;
    if (present == null) {
      present = new TensorOptional(tensor);
      optional = present;
    }
    return present;
  }

  @Override
  public void close() {
    if (optional != null) {
      optional.close();
    }
    if (value != null) {
      value.close();
    }
    if (transposed != null) {
      transposed.close();
    }
    tensor.close();
  }
}
