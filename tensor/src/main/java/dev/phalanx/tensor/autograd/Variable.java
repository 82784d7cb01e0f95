package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A value on a {@link Tape}: an operation's result, or an input given from outside.
 *
 * <p>The tape owns the tensors of results. While it records, a result lives until the backward pass
 * has used it for the last time; {@link Tape#release} ends one earlier that no operation needs.
 */
public final class Variable {
  private final Tensor value;
  private final boolean ownedByTape;
  private final boolean requiresGradient;
  private final @Nullable Variable base; // whose memory the value is a view of
  private @Nullable Tensor gradient;
  private int uses;

  Variable(Tensor value, boolean ownedByTape, boolean requiresGradient) {
    this(value, ownedByTape, requiresGradient, null);
  }

  Variable(Tensor value, boolean ownedByTape, boolean requiresGradient, @Nullable Variable base) {
    this.value = value;
    this.ownedByTape = ownedByTape;
    this.requiresGradient = requiresGradient;
    this.base = base;
  }

  public Tensor value() {
    return value;
  }

  public Shape shape() {
    return value.shape();
  }

  /** Whether the backward pass computes a gradient for this value. */
  public boolean requiresGradient() {
    return requiresGradient;
  }

  /**
   * The gradient, of the value's shape and type: of an input after the backward pass, of a result
   * never.
   */
  public Tensor gradient() {
    if (gradient == null) {
      throw new IllegalStateException("No gradient has reached this " + value);
    }
    return gradient;
  }

  boolean isOwnedByTape() {
    return ownedByTape;
  }

  @Nullable Tensor gradientOrNull() {
    return gradient;
  }

  void setGradient(@Nullable Tensor gradient) {
    this.gradient = gradient;
  }

  /** The value is needed until {@link #letGo}, and so is the memory that it is a view of. */
  void hold() {
    uses++;
    if (base != null) {
      base.hold();
    }
  }

  /** Ends one use; after the last one the tape's own values are freed. */
  void letGo() {
    uses--;
    if (uses <= 0 && ownedByTape) {
      value.close();
    }
    if (base != null) {
      base.letGo();
    }
  }

  boolean isHeld() {
    return uses > 0;
  }
}
