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
 * <p>The norms are those of whole parameters, whoever holds them: all holders add up the squares of
 * what they have, each element once, by one all-reduce of two FLOAT64 numbers a parameter. It is
 * the same for every stage; where one rank has everything nothing is sent.
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
      int number, Tensor master, Tensor update, List<Chunk> chunks, List<Counted> counted) {}

  /**
   * Of a rank's elements of one parameter some neighbours that its norms count.
   *
   * @param masterSquares [1] the sum of the squares, and so is the next
   * @param fetchedSquares [2] both, on the CPU
   */
  private record Counted(
      Tensor master,
      Tensor update,
      Tensor masterSquares,
      Tensor updateSquares,
      Tensor fetchedSquares) {}

  private final Engine engine;
  private final UpdatedValues updated;
  private final double beta1;
  private final double beta2;
  private final double epsilon;
  private final double weightDecay;
  private final Tensor firstMoments;
  private final Tensor secondMoments;
  private final Tensor scratch; // [MOST_AT_ONCE at most] FLOAT32
  private final Tensor ownSquares; // [2 * counted runs] FLOAT64: of the values, of the update
  private final Tensor fetchedSquares; // the same on the CPU
  private final Tensor squares; // [2 * parameters] FLOAT64 on the CPU, over all holders
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
    List<UpdatedValues.Share> shares =
        updated.sharesOfHolders().get(updated.holder()).stream()
            .filter(UpdatedValues.Share::isCounted)
            .toList();
    this.ownSquares = arena.allocate(DType.FLOAT64, 2L * shares.size());
    this.fetchedSquares = host.allocate(DType.FLOAT64, 2L * shares.size());
    this.squares = host.allocate(DType.FLOAT64, 2L * numbers.size());
    for (UpdatedValues.Piece piece : updated.pieces()) {
      List<Counted> counted = new ArrayList<>();
      for (int run = 0; run < shares.size(); run++) {
        if (shares.get(run).parameter() == piece.parameter()) {
          counted.add(counted(piece, shares.get(run), 2L * run));
        }
      }
      parts.add(part(piece, numbers.getOrDefault(piece.parameter(), 0), counted));
    }
  }

  private Counted counted(UpdatedValues.Piece piece, UpdatedValues.Share share, long place) {
    long first = share.parameterOffset() - piece.parameterOffset();
    return new Counted(
        piece.master().slice(0, first, share.count()),
        piece.gradients().slice(0, first, share.count()),
        ownSquares.slice(0, place, 1),
        ownSquares.slice(0, place + 1, 1),
        fetchedSquares.slice(0, place, 2));
  }

  private Part part(UpdatedValues.Piece piece, int number, List<Counted> counted) {
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
    return new Part(number, piece.master(), piece.gradients(), chunks, counted);
  }

  @Override
  public void step(long step, double learningRate, double gradientScale) {
    AdamW direction = new AdamW(1, beta1, beta2, epsilon, 0, gradientScale, step);
    for (Part part : parts) {
      part.chunks().forEach(chunk -> computeUpdate(direction, chunk));
      for (Counted run : part.counted()) {
        engine.squaredNorm(run.master(), run.masterSquares());
        engine.squaredNorm(run.update(), run.updateSquares());
      }
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
    engine.copy(ownSquares, fetchedSquares);
    engine.synchronize(ownSquares.device());
    ByteBuffer all = squares.byteBuffer(0, Math.toIntExact(squares.byteSize()));
    for (int place = 0; place < all.limit(); place += Double.BYTES) {
      all.putDouble(place, 0); // what stays where this rank counts nothing of a parameter
    }
    for (Part part : parts) {
      ByteBuffer ofParameter = pair(squares, part.number());
      for (Counted run : part.counted()) {
        ByteBuffer own = pair(run.fetchedSquares(), 0);
        for (int place = 0; place < own.limit(); place += Double.BYTES) {
          ofParameter.putDouble(place, ofParameter.getDouble(place) + own.getDouble(place));
        }
      }
    }
    updated.sumOverHolders(squares);
  }

  private double trustRatio(int number) {
    ByteBuffer both = pair(squares, number);
    double values = Math.sqrt(both.getDouble());
    double update = Math.sqrt(both.getDouble());
    return values > 0 && update > 0 ? values / update : 1;
  }

  /** The squares of the values and of the update. */
  private static ByteBuffer pair(Tensor squares, int number) {
    return squares.byteBuffer(2L * Double.BYTES * number, 2 * Double.BYTES);
  }

  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("first_moments", firstMoments);
    state.put("second_moments", secondMoments);
    return state;
  }
}
