package dev.phalanx.sharding;

import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

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
 * has an owner among its holders, which send it their elements of U; it computes, and sends them
 * theirs of O:
 *
 * <pre>
 *   rank 0 |  U of W1  | U of W2..  ->  O of W1        <- ..
 *   rank 1 |..U of W2 |  U of W3    ->  O of W2, of W3 -> ..
 * </pre>
 *
 * <p>Shards have some rows of it, from one element to another; where ranks divide the matrix a
 * shard has such a run of a region of it, of some rows and columns, and the owner puts regions in
 * their places. Of several copies of an element the first one is sent, and all are sent the result.
 *
 * <p>So O is computed from the same numbers by the same operations in every layout. What lies
 * wholly with its owner is not sent; of the rest each element that lies elsewhere goes and comes:
 * over all holders together less than 8 bytes for each element of a hidden matrix, and 4 for each
 * further copy of one. A rank that has everything computes everything and nothing is sent.
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

  /** A share, and whose it is. */
  private record OfHolder(int holder, UpdatedValues.Share share) {}

  /** Some rows and columns of a matrix. */
  private record Region(long row, long rows, long column, long columns) {
    long count() {
      return rows * columns;
    }
  }

  /**
   * What one holder has of a region.
   *
   * @param offset of the first element within the region
   * @param parameterOffset its number within what the holder's memory has of the parameter
   * @param isCounted whether no holder before this one has a copy
   */
  private record Held(
      int holder,
      Region region,
      long offset,
      long count,
      long parameterOffset,
      boolean isCounted) {}

  /**
   * A matrix of a hidden layer, on every holder the same.
   *
   * @param owner a holder
   */
  private record Matrix(
      int number, Parameter parameter, long rows, long columns, List<Held> held, int owner) {
    long count() {
      return rows * columns;
    }

    double rateFactor() {
      return Math.sqrt(Math.max(1, (double) rows / columns));
    }
  }

  /** A run of this rank's elements of a matrix: U, and then O, where the gradients were. */
  private record Own(Held held, Tensor master, Tensor update) {}

  /** A matrix of which this rank has some elements. */
  private record Task(Matrix matrix, List<Own> own) {
    /** Whether no other rank has any of it, not even a copy. */
    boolean isOwnAlone() {
      return matrix.held().size() == 1;
    }
  }

  /** A matrix that this rank owns and others hold some of. */
  private final class Assembly implements AutoCloseable {
    private final Task task;
    private final Tensor whole; // [rows, columns]
    private final Map<Region, Tensor> regions = new LinkedHashMap<>(); // [count]

    Assembly(Task task) {
      this.task = task;
      this.whole =
          arena.allocate(DType.FLOAT32, Shape.of(task.matrix().rows(), task.matrix().columns()));
      task.matrix().held().forEach(held -> regions.computeIfAbsent(held.region(), this::elements));
    }

    /** Whole rows lie where they belong; others have memory of their own. */
    private Tensor elements(Region region) {
      return isOfWholeRows(region)
          ? whole.slice(0, region.row(), region.rows()).reshape(region.count())
          : arena.allocate(DType.FLOAT32, region.count());
    }

    private boolean isOfWholeRows(Region region) {
      return region.columns() == task.matrix().columns();
    }

    /** Where a holder's elements are: U's, and then O's. */
    Tensor place(Held held) {
      Tensor region = Objects.requireNonNull(regions.get(held.region()));
      return region.slice(0, held.offset(), held.count());
    }

    /** Puts O in the place of U. */
    void orthogonalize() {
      regions.forEach((region, elements) -> copy(region, elements, true));
      newtonSchulz.orthogonalize(whole);
      regions.forEach((region, elements) -> copy(region, elements, false));
    }

    private void copy(Region region, Tensor elements, boolean isToWhole) {
      if (isOfWholeRows(region)) {
        return;
      }
      try (Tensor apart = elements.reshape(region.rows(), region.columns());
          Tensor rows = whole.slice(0, region.row(), region.rows());
          Tensor inWhole = rows.slice(1, region.column(), region.columns())) {
        engine.copy(isToWhole ? apart : inWhole, isToWhole ? inWhole : apart);
      }
    }

    @Override
    public void close() {
      regions.values().forEach(Tensor::close);
      whole.close();
    }
  }

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
  private final List<List<Task>> waves = new ArrayList<>();

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

  /**
   * All matrices, each with its owner: of its holders, also of copies, the one with least to do.
   */
  private List<Matrix> matrices(StackedMatrices stacked) {
    List<List<UpdatedValues.Share>> all = updated.sharesOfHolders();
    double[] work = new double[all.size()];
    List<Matrix> matrices = new ArrayList<>();
    Map<Parameter, List<OfHolder>> shares = byParameter(all);
    for (Parameter parameter : updated.parameters()) {
      Shape whole = parameter.partition().whole();
      long first = 0; // of the parameter's rows
      for (long rows : stacked.rowsOf(parameter)) {
        long columns = whole.size(1);
        List<Held> held = held(shares.getOrDefault(parameter, List.of()), first, rows);
        int owner = held.get(0).holder();
        for (Held one : held) {
          owner = work[one.holder()] < work[owner] ? one.holder() : owner;
        }
        work[owner] += (double) rows * columns * Math.min(rows, columns);
        matrices.add(new Matrix(matrices.size(), parameter, rows, columns, held, owner));
        first += rows;
      }
      if (first != 0 && first != whole.size(0)) {
        throw new IllegalArgumentException(
            "The matrices in " + parameter + " have " + first + " of " + whole.size(0) + " rows");
      }
    }
    return matrices;
  }

  /** Each parameter's shares, by holders in ascending order. */
  private static Map<Parameter, List<OfHolder>> byParameter(
      List<List<UpdatedValues.Share>> shares) {
    Map<Parameter, List<OfHolder>> byParameter = new IdentityHashMap<>();
    for (int holder = 0; holder < shares.size(); holder++) {
      for (UpdatedValues.Share share : shares.get(holder)) {
        byParameter
            .computeIfAbsent(share.parameter(), absent -> new ArrayList<>())
            .add(new OfHolder(holder, share));
      }
    }
    return byParameter;
  }

  private static List<Held> held(List<OfHolder> shares, long first, long rows) {
    List<Held> held = new ArrayList<>();
    shares.forEach(one -> addHeld(held, one.holder(), one.share(), first, rows));
    return held;
  }

  /** What a share has of the matrix in some rows of the parameter, if it has any of it. */
  private static void addHeld(
      List<Held> held, int holder, UpdatedValues.Share share, long first, long rows) {
    Partition.Block block = share.block();
    long top = Math.max(first, block.row());
    long bottom = Math.min(first + rows, block.row() + block.rows());
    if (top >= bottom) {
      return;
    }
    Region region = new Region(top - first, bottom - top, block.column(), block.columns());
    long start = (top - block.row()) * block.columns(); // of the region within the block
    long from = Math.max(start, share.blockOffset());
    long to = Math.min(start + region.count(), share.blockOffset() + share.count());
    if (from < to) {
      held.add(
          new Held(
              holder,
              region,
              from - start,
              to - from,
              share.parameterOffset() + from - share.blockOffset(),
              share.isCounted()));
    }
  }

  /** This rank's elements of the matrices, in waves that are the same on every holder. */
  private void divideMatrices(List<Matrix> matrices) {
    Map<Parameter, UpdatedValues.Piece> pieces = new IdentityHashMap<>();
    updated.pieces().forEach(piece -> pieces.put(piece.parameter(), piece));
    List<Task> wave = new ArrayList<>();
    long elements = 0;
    for (Matrix matrix : matrices) {
      UpdatedValues.Piece piece = pieces.get(matrix.parameter());
      List<Own> own = piece == null ? List.of() : own(matrix, piece);
      if (!own.isEmpty()) {
        wave.add(new Task(matrix, own));
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

  private List<Own> own(Matrix matrix, UpdatedValues.Piece piece) {
    List<Own> own = new ArrayList<>();
    for (Held held : matrix.held()) {
      if (held.holder() == updated.holder()) {
        long start = held.parameterOffset() - piece.parameterOffset();
        own.add(
            new Own(
                held,
                piece.master().slice(0, start, held.count()),
                piece.gradients().slice(0, start, held.count())));
      }
    }
    return own;
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
    for (List<Task> wave : waves) {
      orthogonalize(wave);
      wave.forEach(task -> apply(learningRate, task));
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
  private void orthogonalize(List<Task> wave) {
    List<PointToPoint> there = new ArrayList<>();
    List<PointToPoint> back = new ArrayList<>();
    List<Assembly> assemblies = new ArrayList<>();
    for (Task task : wave) {
      if (task.matrix().owner() != updated.holder()) {
        hand(task, there, back);
      } else if (!task.isOwnAlone()) {
        Assembly assembly = new Assembly(task);
        assemblies.add(assembly);
        collect(assembly, there, back);
      }
    }
    updated.exchange(there);
    assemblies.forEach(Assembly::orthogonalize);
    updated.exchange(back);
    for (Assembly assembly : assemblies) {
      assembly.task.own().forEach(own -> engine.copy(assembly.place(own.held()), own.update()));
      assembly.close();
    }
    for (Task task : wave) { // last: nobody waits for them
      if (task.matrix().owner() == updated.holder() && task.isOwnAlone()) {
        orthogonalize(task.matrix(), task.own().get(0).update());
      }
    }
  }

  /** Sends the owner what counts, and receives the result. */
  private static void hand(Task task, List<PointToPoint> there, List<PointToPoint> back) {
    Matrix matrix = task.matrix();
    for (Own own : task.own()) {
      if (own.held().isCounted()) {
        there.add(new PointToPoint.Send(own.update(), matrix.owner(), matrix.number()));
      }
      back.add(new PointToPoint.Receive(own.update(), matrix.owner(), matrix.number()));
    }
  }

  /** The same, seen from the owner. */
  private void collect(Assembly assembly, List<PointToPoint> there, List<PointToPoint> back) {
    Matrix matrix = assembly.task.matrix();
    for (Held held : matrix.held()) {
      if (held.holder() != matrix.owner()) {
        Tensor place = assembly.place(held);
        if (held.isCounted()) {
          there.add(new PointToPoint.Receive(place, held.holder(), matrix.number()));
        }
        back.add(new PointToPoint.Send(place, held.holder(), matrix.number()));
      }
    }
    for (Own own : assembly.task.own()) {
      if (own.held().isCounted()) {
        engine.copy(own.update(), assembly.place(own.held()));
      }
    }
  }

  private void orthogonalize(Matrix matrix, Tensor elements) {
    try (Tensor shaped = elements.reshape(matrix.rows(), matrix.columns())) {
      newtonSchulz.orthogonalize(shaped);
    }
  }

  private void apply(double learningRate, Task task) {
    for (Own own : task.own()) {
      if (settings.weightDecay() != 0) {
        engine.scale(own.master(), 1 - learningRate * settings.weightDecay());
      }
      engine.addScaled(-learningRate * task.matrix().rateFactor(), own.update(), own.master());
    }
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
