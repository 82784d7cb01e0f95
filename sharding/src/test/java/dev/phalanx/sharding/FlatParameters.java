package dev.phalanx.sharding;

import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.ToLongFunction;

/**
 * The plainest memory that optimizers can update: all parameters of one rank in three runs of
 * memory without gaps, the last used first. fp32 master values, values in the type of the
 * computation (the same memory where that is fp32) and fp32 gradients.
 *
 * <p>The arena that is given owns the memory.
 */
final class FlatParameters implements UpdatedValues {
  /** A run of neighbours in flat memory that weight decay treats alike. */
  private record Segment(long offset, long count, boolean isDecayed) {
    Tensor of(Tensor flat) {
      return flat.slice(0, offset, count);
    }
  }

  private final Engine engine;
  private final Map<Parameter, Long> offsets = new LinkedHashMap<>();
  private final long elementCount;
  private final Tensor master;
  private final Tensor values;
  private final Tensor gradients;

  /**
   * Allocates the memory and binds every parameter to its slices.
   *
   * @param parameters in the order of first use, each once
   * @param computeType FLOAT32, BFLOAT16 or FLOAT16
   */
  FlatParameters(Arena arena, List<Parameter> parameters, DType computeType) {
    this.engine = arena.engine();
    long offset = 0;
    for (int i = parameters.size() - 1; i >= 0; i--) {
      if (offsets.put(parameters.get(i), offset) != null) {
        throw new IllegalArgumentException("Parameter " + parameters.get(i) + " is given twice");
      }
      offset += parameters.get(i).shape().elementCount();
    }
    this.elementCount = offset;
    this.master = arena.allocate(DType.FLOAT32, offset);
    this.values = computeType == DType.FLOAT32 ? master : arena.allocate(computeType, offset);
    this.gradients = arena.allocate(DType.FLOAT32, offset);
    offsets.forEach(
        (parameter, start) ->
            parameter.bind(slice(values, parameter), slice(gradients, parameter)));
  }

  /** The number of elements of all parameters, which is the length of the flat tensors. */
  long elementCount() {
    return elementCount;
  }

  /** [elementCount] FLOAT32: what the optimizer updates and a checkpoint holds. */
  Tensor master() {
    return master;
  }

  /**
   * [elementCount] in the type of the computation: {@link #master} itself where that is FLOAT32.
   */
  Tensor values() {
    return values;
  }

  /** [elementCount] FLOAT32. */
  Tensor gradients() {
    return gradients;
  }

  /** In the order of flat memory. */
  @Override
  public List<Parameter> parameters() {
    return List.copyOf(offsets.keySet());
  }

  /** Where a parameter begins in flat memory, in elements. */
  long offset(Parameter parameter) {
    Long offset = offsets.get(parameter);
    if (offset == null) {
      throw new IllegalArgumentException("Parameter " + parameter + " is not one of this model");
    }
    return offset;
  }

  /**
   * A parameter's slice of a flat tensor of {@link #elementCount} elements, in the parameter's
   * shape.
   */
  Tensor slice(Tensor flat, Parameter parameter) {
    return flat.slice(0, offset(parameter), parameter.shape().elementCount())
        .reshape(parameter.shape().toArray());
  }

  /** Flat memory as the longest runs that weight decay treats alike, in order. */
  private List<Segment> segments() {
    List<Segment> segments = new ArrayList<>();
    offsets.forEach(
        (parameter, offset) -> {
          long count = parameter.shape().elementCount();
          Segment last = segments.isEmpty() ? null : segments.get(segments.size() - 1);
          if (last != null && last.isDecayed() == parameter.isDecayed()) {
            segments.set(
                segments.size() - 1,
                new Segment(last.offset(), last.count() + count, last.isDecayed()));
          } else {
            segments.add(new Segment(offset, count, parameter.isDecayed()));
          }
        });
    return segments;
  }

  /**
   * Sets the master values by the parameters' initializers and refreshes the values of the
   * computation.
   */
  void initialize(ToLongFunction<Parameter> seed) {
    offsets.forEach(
        (parameter, offset) -> {
          long count = parameter.shape().elementCount();
          try (Tensor destination = master.slice(0, offset, count)) {
            ParameterFilling.fill(engine, parameter, seed.applyAsLong(parameter), 0, destination);
          }
        });
    refreshValues();
  }

  @Override
  public List<Run> runs() {
    return segments().stream()
        .map(
            segment ->
                new Run(
                    segment.of(master),
                    segment.of(gradients),
                    segment.offset(),
                    segment.isDecayed()))
        .toList();
  }

  @Override
  public List<Piece> pieces() {
    List<Piece> pieces = new ArrayList<>();
    offsets.forEach(
        (parameter, offset) -> {
          long count = parameter.shape().elementCount();
          pieces.add(
              new Piece(
                  parameter,
                  0,
                  master.slice(0, offset, count),
                  gradients.slice(0, offset, count),
                  offset));
        });
    return pieces;
  }

  @Override
  public void sumOverHolders(Tensor numbers) {
    // this rank has everything
  }

  @Override
  public List<List<Share>> sharesOfHolders() {
    return List.of(
        offsets.keySet().stream()
            .map(parameter -> Share.ofWhole(parameter, 0, parameter.shape().elementCount()))
            .toList());
  }

  @Override
  public int holder() {
    return 0;
  }

  @Override
  public void exchange(List<PointToPoint> transfers) {
    if (!transfers.isEmpty()) {
      throw new IllegalArgumentException("One rank that has everything has nobody to talk to");
    }
  }

  @Override
  public Tensor allocateState(Arena arena, Predicate<Parameter> isCovered) {
    return arena.zeros(
        DType.FLOAT32,
        ShardLayout.elementCount(offsets.keySet().stream().filter(isCovered).toList()));
  }

  @Override
  public long stateElementCount() {
    return elementCount;
  }

  @Override
  public void refreshValues() {
    if (values != master) {
      engine.copy(master, values);
    }
  }
}
