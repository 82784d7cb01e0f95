package dev.phalanx.sharding;

import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * LAMB (You et al., 2020, "Large Batch Optimization for Deep Learning: Training BERT in 76
 * minutes", algorithm 2, with the identity as its phi), for each parameter x with gradient g:
 *
 * <pre>
 *   m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
 *   r = m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon)
 *   u = r + weightDecay x              (weight decay on parameters of two or more dimensions)
 *   x = x - learningRate ||x|| / ||u|| u     (a ratio of 1 where one of the norms is 0)
 * </pre>
 *
 * <p>The norms are those of whole parameters, whoever holds them: ranks that share a copy add up
 * the squares of their pieces by one all-reduce of two FLOAT64 numbers a parameter. It is the same
 * for every stage; without shards nothing is sent.
 *
 * <p>Between the norms and the update u lies where the gradients were.
 */
public final class LambOptimizer implements FlatOptimizer {
  /** Elements of the update that are computed at once, beside the gradient that they replace. */
  private static final long MOST_AT_ONCE = 1 << 18;

  /** Some neighbouring elements of one parameter. */
  private record Chunk(
      boolean isDecayed,
      Tensor master,
      Tensor gradients,
      Tensor firstMoments,
      Tensor secondMoments,
      Tensor update) {}

  /**
   * A rank's elements of one parameter.
   *
   * @param number of the parameter, on every rank the same
   * @param update [n], where the gradients were
   */
  private record Part(
      int number,
      Tensor master,
      Tensor update,
      Tensor masterSquares,
      Tensor updateSquares,
      List<Chunk> chunks) {}

  private final Engine engine;
  private final UpdatedValues updated;
  private final double beta1;
  private final double beta2;
  private final double epsilon;
  private final double weightDecay;
  private final Tensor firstMoments;
  private final Tensor secondMoments;
  private final Tensor scratch; // [MOST_AT_ONCE at most] FLOAT32
  private final Tensor ownSquares; // [2 * parameters] FLOAT64: of the values, of the update
  private final Tensor squares; // the same on the CPU, over all ranks
  private final List<Part> parts = new ArrayList<>();

  /**
   * @param arena owns the moments
   * @param host owns the norms; an arena on the CPU
   */
  public LambOptimizer(
      Arena arena,
      Arena host,
      UpdatedValues updated,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay) {
    this.engine = arena.engine();
    this.updated = updated;
    this.beta1 = beta1;
    this.beta2 = beta2;
    this.epsilon = epsilon;
    this.weightDecay = weightDecay;
    this.firstMoments = arena.zeros(DType.FLOAT32, updated.stateElementCount());
    this.secondMoments = arena.zeros(DType.FLOAT32, updated.stateElementCount());
    this.scratch =
        arena.allocate(DType.FLOAT32, Math.min(MOST_AT_ONCE, updated.stateElementCount()));
    Map<Parameter, Integer> numbers = new IdentityHashMap<>();
    updated.parameters().forEach(parameter -> numbers.put(parameter, numbers.size()));
    this.ownSquares = arena.zeros(DType.FLOAT64, 2L * numbers.size());
    this.squares = host.allocate(DType.FLOAT64, 2L * numbers.size());
    for (UpdatedValues.Piece piece : updated.pieces()) {
      parts.add(part(piece, numbers.getOrDefault(piece.parameter(), 0)));
    }
  }

  private Part part(UpdatedValues.Piece piece, int number) {
    Tensor first = piece.of(firstMoments);
    Tensor second = piece.of(secondMoments);
    List<Chunk> chunks = new ArrayList<>();
    long count = piece.master().elementCount();
    for (long start = 0; start < count; start += MOST_AT_ONCE) {
      long length = Math.min(MOST_AT_ONCE, count - start);
      chunks.add(
          new Chunk(
              piece.parameter().isDecayed(),
              piece.master().slice(0, start, length),
              piece.gradients().slice(0, start, length),
              first.slice(0, start, length),
              second.slice(0, start, length),
              scratch.slice(0, 0, length)));
    }
    return new Part(
        number,
        piece.master(),
        piece.gradients(),
        ownSquares.slice(0, 2L * number, 1),
        ownSquares.slice(0, 2L * number + 1, 1),
        chunks);
  }

  @Override
  public void step(long step, double learningRate, double gradientScale) {
    AdamW direction = new AdamW(1, beta1, beta2, epsilon, 0, gradientScale, step);
    for (Part part : parts) {
      part.chunks().forEach(chunk -> computeUpdate(direction, chunk));
      engine.squaredNorm(part.master(), part.masterSquares());
      engine.squaredNorm(part.update(), part.updateSquares());
    }
    sumSquares();
    for (Part part : parts) {
      double rate = learningRate * trustRatio(part.number());
      engine.addScaled(rate, part.update(), part.master());
    }
    updated.refreshValues();
  }

  /** Puts -u in the gradients' place: Adam's step of rate 1 from 0, and the decay. */
  private void computeUpdate(AdamW direction, Chunk chunk) {
    engine.fill(chunk.update(), 0);
    engine.adamW(
        direction, chunk.update(), chunk.gradients(), chunk.firstMoments(), chunk.secondMoments());
    if (chunk.isDecayed() && weightDecay != 0) {
      engine.addScaled(-weightDecay, chunk.master(), chunk.update());
    }
    engine.copy(chunk.update(), chunk.gradients());
  }

  private void sumSquares() {
    engine.copy(ownSquares, squares); // nought where this rank has no piece of a parameter
    engine.synchronize(ownSquares.device());
    updated.sumOverShards(squares);
  }

  private double trustRatio(int number) {
    ByteBuffer both = squares.byteBuffer(2L * Double.BYTES * number, 2 * Double.BYTES);
    double values = Math.sqrt(both.getDouble());
    double update = Math.sqrt(both.getDouble());
    return values > 0 && update > 0 ? values / update : 1;
  }

  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("first_moments", firstMoments);
    state.put("second_moments", secondMoments);
    return state;
  }
}
