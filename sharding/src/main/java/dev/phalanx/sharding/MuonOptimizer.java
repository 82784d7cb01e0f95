package dev.phalanx.sharding;

import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Muon (Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks") for the
 * matrices of hidden layers, AdamW for everything else. A matrix W with gradient G becomes
 *
 * <pre>
 *   M = momentum M + G        U = nesterov ? G + momentum M : M
 *   O = U made orthogonal by {@link NewtonSchulz}
 *   W = (1 - learningRate weightDecay) W - learningRate sqrt(max(1, rows / columns)) O
 * </pre>
 *
 * <p>Momenta are divided among ranks as everything else is, but O is of a whole matrix. Each one
 * has an owner among the ranks that hold some of it; they send it their rows of U, it computes, and
 * sends them their rows of O:
 *
 * <pre>
 *   rank 0 |  U of W1  | U of W2..  ->  O of W1        <- ..
 *   rank 1 |..U of W2 |  U of W3    ->  O of W2, of W3 -> ..
 * </pre>
 *
 * <p>So O is computed from the same numbers by the same operations in every layout. What lies
 * wholly with its owner is not sent; of the rest each element that lies elsewhere goes and comes:
 * over all ranks together less than 8 bytes for each element of a hidden matrix. Without shards
 * every rank computes everything and nothing is sent.
 *
 * <p>U and O lie where the gradients were.
 */
public final class MuonOptimizer implements FlatOptimizer {
  /**
   * @param momentum of the matrices
   * @param newtonSchulzSteps as a rule 5
   * @param weightDecay of matrices, and of other parameters of two or more dimensions
   * @param adamWRate AdamW's learning rate as a multiple of Muon's
   * @param beta1 this and the next two are AdamW's
   */
  public record Settings(
      double momentum,
      boolean nesterov,
      int newtonSchulzSteps,
      double weightDecay,
      double adamWRate,
      double beta1,
      double beta2,
      double epsilon) {}

  /** Elements of U that are computed at once, beside the gradient that they replace. */
  private static final long MOST_AT_ONCE = 1 << 18;

  /** Elements of matrices that are on their way at once, over all ranks. */
  private static final long ELEMENTS_AT_ONCE = 16 << 20;

  /** Some neighbouring elements of hidden matrices. */
  private record Chunk(Tensor gradients, Tensor momenta, Tensor update) {}

  /**
   * What one rank holds of a matrix.
   *
   * @param offset of the first element within the matrix
   */
  private record Held(int rank, long offset, long count) {}

  /** A matrix of a hidden layer, on every rank the same; {@code first} is within the parameter. */
  private record Matrix(
      int number,
      Parameter parameter,
      long first,
      long rows,
      long columns,
      List<Held> held,
      int owner) {
    long count() {
      return rows * columns;
    }

    double rateFactor() {
      return Math.sqrt(Math.max(1, (double) rows / columns));
    }
  }

  /** This rank's elements of a matrix: U, and then O, where the gradients were. */
  private record Own(Matrix matrix, Held held, Tensor master, Tensor update) {
    boolean isOwner() {
      return matrix.owner() == held.rank();
    }

    boolean isWhole() {
      return held.count() == matrix.count();
    }
  }

  /**
   * A matrix that this rank owns and others hold some of.
   *
   * @param elements [rows * columns]
   */
  private record Assembled(Own own, Tensor elements) {}

  private final Engine engine;
  private final Arena arena;
  private final UpdatedValues updated;
  private final Settings settings;
  private final NewtonSchulz newtonSchulz;
  private final Tensor momenta;
  private final Tensor firstMoments;
  private final Tensor secondMoments;
  private final Tensor scratch; // [MOST_AT_ONCE at most] FLOAT32
  private final List<AdamWPart> others = new ArrayList<>(); // what is no hidden matrix
  private final List<Chunk> chunks = new ArrayList<>();
  private final List<List<Own>> waves = new ArrayList<>();

  /**
   * @param arena owns the state, and matrices for the moment
   * @param host an arena on the CPU
   */
  public MuonOptimizer(
      Arena arena, Arena host, UpdatedValues updated, StackedMatrices matrices, Settings settings) {
    this.engine = arena.engine();
    this.arena = arena;
    this.updated = updated;
    this.settings = settings;
    this.newtonSchulz = new NewtonSchulz(arena, host, settings.newtonSchulzSteps());
    this.momenta = updated.allocateState(arena, parameter -> isHidden(matrices, parameter));
    this.firstMoments = updated.allocateState(arena, parameter -> !isHidden(matrices, parameter));
    this.secondMoments = updated.allocateState(arena, parameter -> !isHidden(matrices, parameter));
    this.scratch =
        arena.allocate(DType.FLOAT32, Math.min(MOST_AT_ONCE, updated.stateElementCount()));
    divideState(matrices);
    divideMatrices(matrices(matrices));
  }

  private static boolean isHidden(StackedMatrices matrices, Parameter parameter) {
    return !matrices.rowsOf(parameter).isEmpty();
  }

  // --------------------------------------------------------------------------------------- set-up

  private void divideState(StackedMatrices matrices) {
    long hidden = 0;
    long other = 0;
    for (UpdatedValues.Piece piece : updated.pieces()) {
      long count = piece.master().elementCount();
      if (isHidden(matrices, piece.parameter())) {
        addChunks(piece.gradients(), momenta.slice(0, hidden, count));
        hidden += count;
      } else {
        others.add(
            new AdamWPart(
                piece.parameter().isDecayed(),
                piece.master(),
                piece.gradients(),
                firstMoments.slice(0, other, count),
                secondMoments.slice(0, other, count)));
        other += count;
      }
    }
  }

  private void addChunks(Tensor gradients, Tensor ownMomenta) {
    long count = gradients.elementCount();
    for (long start = 0; start < count; start += MOST_AT_ONCE) {
      long length = Math.min(MOST_AT_ONCE, count - start);
      chunks.add(
          new Chunk(
              gradients.slice(0, start, length),
              ownMomenta.slice(0, start, length),
              scratch.slice(0, 0, length)));
    }
  }

  /** All matrices, each with its owner: of those that hold some of it the one with least to do. */
  private List<Matrix> matrices(StackedMatrices stacked) {
    List<List<UpdatedValues.Share>> shares = updated.sharesOfHolders();
    double[] work = new double[shares.size()];
    List<Matrix> matrices = new ArrayList<>();
    for (Parameter parameter : updated.parameters()) {
      long first = 0;
      for (long rows : stacked.rowsOf(parameter)) {
        long columns = parameter.shape().size(1);
        List<Held> held = held(shares, parameter, first, rows * columns);
        int owner = held.get(0).rank();
        for (Held one : held) {
          owner = work[one.rank()] < work[owner] ? one.rank() : owner;
        }
        work[owner] += (double) rows * columns * Math.min(rows, columns);
        matrices.add(new Matrix(matrices.size(), parameter, first, rows, columns, held, owner));
        first += rows * columns;
      }
      if (first != 0 && first != parameter.shape().elementCount()) {
        throw new IllegalArgumentException(
            "The matrices in " + parameter + " have " + first + " elements together");
      }
    }
    return matrices;
  }

  private static List<Held> held(
      List<List<UpdatedValues.Share>> shares, Parameter parameter, long first, long count) {
    List<Held> held = new ArrayList<>();
    for (int rank = 0; rank < shares.size(); rank++) {
      for (UpdatedValues.Share share : shares.get(rank)) {
        long from = Math.max(first, share.parameterOffset());
        long to = Math.min(first + count, share.parameterOffset() + share.count());
        if (share.parameter() == parameter && from < to) {
          held.add(new Held(rank, from - first, to - from));
        }
      }
    }
    return held;
  }

  /** This rank's elements of the matrices, in waves that are the same on every rank. */
  private void divideMatrices(List<Matrix> matrices) {
    Map<Parameter, UpdatedValues.Piece> pieces = new IdentityHashMap<>();
    updated.pieces().forEach(piece -> pieces.put(piece.parameter(), piece));
    List<Own> wave = new ArrayList<>();
    long elements = 0;
    for (Matrix matrix : matrices) {
      for (Held held : matrix.held()) {
        UpdatedValues.Piece piece = pieces.get(matrix.parameter());
        if (held.rank() == updated.holder() && piece != null) {
          long start = matrix.first() + held.offset() - piece.parameterOffset();
          wave.add(
              new Own(
                  matrix,
                  held,
                  piece.master().slice(0, start, held.count()),
                  piece.gradients().slice(0, start, held.count())));
        }
      }
      elements += matrix.count();
      if (elements >= ELEMENTS_AT_ONCE) {
        waves.add(wave);
        wave = new ArrayList<>();
        elements = 0;
      }
    }
    waves.add(wave);
  }

  // --------------------------------------------------------------------------------- one step

  @Override
  public void step(long step, double learningRate, double gradientScale) {
    AdamW adamW =
        new AdamW(
            learningRate * settings.adamWRate(),
            settings.beta1(),
            settings.beta2(),
            settings.epsilon(),
            settings.weightDecay(),
            gradientScale,
            step);
    others.forEach(other -> other.update(engine, adamW));
    chunks.forEach(chunk -> computeUpdate(gradientScale, chunk));
    for (List<Own> wave : waves) {
      orthogonalize(wave);
      wave.forEach(own -> apply(learningRate, own));
    }
    updated.refreshValues();
  }

  /** Puts U in the gradients' place: a step of rate -1 from 0. */
  private void computeUpdate(double gradientScale, Chunk chunk) {
    engine.fill(chunk.update(), 0);
    engine.sgd(
        new Sgd(-1, settings.momentum(), settings.nesterov(), 0, gradientScale),
        chunk.update(),
        chunk.gradients(),
        chunk.momenta());
    engine.copy(chunk.update(), chunk.gradients());
  }

  /** Puts O in the place of U. */
  private void orthogonalize(List<Own> wave) {
    List<PointToPoint> there = new ArrayList<>();
    List<PointToPoint> back = new ArrayList<>();
    List<Assembled> assembled = new ArrayList<>();
    for (Own own : wave) {
      Matrix matrix = own.matrix();
      if (!own.isOwner()) {
        there.add(new PointToPoint.Send(own.update(), matrix.owner(), matrix.number()));
        back.add(new PointToPoint.Receive(own.update(), matrix.owner(), matrix.number()));
      } else if (!own.isWhole()) {
        Tensor whole = arena.allocate(DType.FLOAT32, matrix.count());
        assembled.add(new Assembled(own, whole));
        for (Held held : matrix.held()) {
          Tensor rows = whole.slice(0, held.offset(), held.count());
          if (held.rank() == own.held().rank()) {
            engine.copy(own.update(), rows);
          } else {
            there.add(new PointToPoint.Receive(rows, held.rank(), matrix.number()));
            back.add(new PointToPoint.Send(rows, held.rank(), matrix.number()));
          }
        }
      }
    }
    updated.exchange(there);
    assembled.forEach(one -> orthogonalize(one.own().matrix(), one.elements()));
    updated.exchange(back);
    for (Assembled one : assembled) {
      Held held = one.own().held();
      engine.copy(one.elements().slice(0, held.offset(), held.count()), one.own().update());
      one.elements().close();
    }
    for (Own own : wave) { // last: nobody waits for them
      if (own.isOwner() && own.isWhole()) {
        orthogonalize(own.matrix(), own.update());
      }
    }
  }

  private void orthogonalize(Matrix matrix, Tensor elements) {
    try (Tensor shaped = elements.reshape(matrix.rows(), matrix.columns())) {
      newtonSchulz.orthogonalize(shaped);
    }
  }

  private void apply(double learningRate, Own own) {
    if (settings.weightDecay() != 0) {
      engine.scale(own.master(), 1 - learningRate * settings.weightDecay());
    }
    engine.addScaled(-learningRate * own.matrix().rateFactor(), own.update(), own.master());
  }

  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("momenta", momenta);
    state.put("first_moments", firstMoments);
    state.put("second_moments", secondMoments);
    return state;
  }
}
