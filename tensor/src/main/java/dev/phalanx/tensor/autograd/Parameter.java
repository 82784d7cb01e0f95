package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A leaf that is trained: a name, a shape, initial values by element, and the memory that the owner
 * of the model's flat storage binds it to.
 *
 * <p>The gradient goes straight into the bound tensor, a slice of a gradient bucket as a rule. The
 * first gradient after {@link #clearGradient} replaces what lies there, later ones add to it:
 * nobody has to write zeros.
 */
public final class Parameter {
  private final String name;
  private final Partition partition;
  private final Shape shape;
  private final Initializer initializer;
  private @Nullable Memory memory;
  private boolean hasGradient;

  /** A parameter that this rank holds whole. */
  public Parameter(String name, Shape shape, Initializer initializer) {
    this(name, Partition.whole(shape), initializer);
  }

  /**
   * @param initializer of the whole parameter's elements
   */
  public Parameter(String name, Partition partition, Initializer initializer) {
    this.name = name;
    this.partition = partition;
    this.shape = partition.shape();
    this.initializer = initializer;
  }

  /**
   * The initial values of a parameter, element by element, so that any slice is made without the
   * rest.
   */
  @FunctionalInterface
  public interface Initializer {
    /** The element at a row-major place, from 0. {@code seed} is the parameter's own. */
    double value(long seed, long element);
  }

  /**
   * A parameter's memory. It is asked at each use, so that it may be made or filled when it is
   * needed and given back soon after: nobody keeps what it gives beyond the operation.
   */
  public interface Memory {
    /** The value, of the parameter's shape, in the type of the computation. */
    Tensor value();

    /** Where the gradient goes, of the parameter's shape. */
    Tensor gradient();
  }

  private record FixedMemory(Tensor value, Tensor gradient) implements Memory {}

  public String name() {
    return name;
  }

  /** Of what this rank holds, which is all of it as a rule. */
  public Shape shape() {
    return shape;
  }

  /** Which elements of the whole this rank holds. */
  public Partition partition() {
    return partition;
  }

  /**
   * The first value of an element.
   *
   * @param seed the parameter's own
   * @param element within {@link #shape}, row-major, from 0
   */
  public double initialValue(long seed, long element) {
    long inWhole = partition.wholeElement(element);
    return inWhole < 0 ? 0 : initializer.value(seed, inWhole);
  }

  /** Whether weight decay applies: to matrices, not to biases and gains. */
  public boolean isDecayed() {
    return shape.rank() >= 2;
  }

  /**
   * Gives the parameter its memory, which the caller keeps alive and owns.
   *
   * @param value of the parameter's shape, in the type of the computation
   * @param gradient of the parameter's shape; its type may be FLOAT32 under a narrower value
   */
  public void bind(Tensor value, Tensor gradient) {
    if (!value.shape().equals(shape) || !gradient.shape().equals(shape)) {
      throw new IllegalArgumentException(
          "Parameter "
              + name
              + " has shape "
              + shape
              + " and cannot be bound to a value of "
              + value.shape()
              + " and a gradient of "
              + gradient.shape());
    }
    bind(new FixedMemory(value, gradient));
  }

  /** Gives the parameter memory that is not always there. */
  public void bind(Memory changing) {
    this.memory = changing;
    this.hasGradient = false;
  }

  public Tensor value() {
    return memory().value();
  }

  public Tensor gradient() {
    return memory().gradient();
  }

  private Memory memory() {
    Memory bound = memory;
    if (bound == null) {
      throw new IllegalStateException("Parameter " + name + " is not bound to memory yet");
    }
    return bound;
  }

  /**
   * Whether a gradient was written since the last {@link #clearGradient}: the next one must be
   * added.
   */
  public boolean hasGradient() {
    return hasGradient;
  }

  public void clearGradient() {
    hasGradient = false;
  }

  void markGradient() {
    hasGradient = true;
  }

  @Override
  public String toString() {
    return name + " " + shape;
  }
}
