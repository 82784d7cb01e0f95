package dev.phalanx.engine.host;

import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Several threads that share each kernel: every thread has an engine of its own, which works on its
 * part of the rows. The libraries' own pools of threads stay unused: there are two of them, that of
 * the tensor library and OpenBLAS's, and each waits on cores that the other needs.
 *
 * <p>The parts depend on the sizes and the number of threads alone, so that a run can be repeated
 * bit for bit.
 */
public final class TeamEngine implements Engine {
  /** Fewer elements are faster done than handed to another thread. */
  private static final long SMALL = 8 * 1024;

  /** Multiplications that are faster done than handed to another thread. */
  private static final long SMALL_PRODUCT = 512 * 1024;

  private final List<Engine> members = new ArrayList<>();
  private final ThreadTeam team;
  private final long smallElements;
  private final long smallProduct;
  private @Nullable Storage partialMemory;

  /**
   * @param opening opens the engine of one thread, which computes in host memory and whose kernels
   *     are done when they return
   */
  public TeamEngine(EngineOptions options, Function<EngineOptions, Engine> opening) {
    this(options, opening, SMALL, SMALL_PRODUCT);
  }

  /** For tests, which divide what is small too. */
  public TeamEngine(
      EngineOptions options,
      Function<EngineOptions, Engine> opening,
      long smallElements,
      long smallProduct) {
    this.smallElements = smallElements;
    this.smallProduct = smallProduct;
    for (int i = 0; i < options.threads(); i++) {
      members.add(opening.apply(options));
    }
    this.team = new ThreadTeam(options.threads(), name() + "-" + Thread.currentThread().getName());
  }

  private Engine first() {
    return members.get(0);
  }

  /**
   * Divides a kernel.
   *
   * @param isWorthwhile whether it is large enough
   * @param count the rows, or whatever it is divided by
   * @param kernel makes the views of a part, here and now, and gives what its thread then does
   */
  private void divide(boolean isWorthwhile, long count, Function<Part, Consumer<Engine>> kernel) {
    if (!isWorthwhile || count < members.size()) {
      kernel.apply(Part.whole()).accept(first());
      return;
    }
    List<Part> parts = new ArrayList<>(members.size());
    List<Runnable> tasks = new ArrayList<>(members.size());
    try {
      for (int i = 0; i < members.size(); i++) {
        Part part = Part.of(i, members.size(), count);
        parts.add(part);
        Engine member = members.get(i);
        Consumer<Engine> work = kernel.apply(part);
        tasks.add(() -> work.accept(member));
      }
      team.run(tasks);
    } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
      // Arguments that do not fit: undivided, the kernel says what it was really given.
      kernel.apply(Part.whole()).accept(first());
      throw e;
    } finally {
      parts.forEach(Part::close);
    }
  }

  private static long rows(Tensor tensor) {
    return tensor.shape().rank() == 0 ? 1 : tensor.size(0);
  }

  private boolean isLarge(Tensor tensor) {
    return tensor.elementCount() >= smallElements;
  }

  // ------------------------------------------------------------------------------------- memory

  @Override
  public String name() {
    return first().name();
  }

  @Override
  public String description() {
    return first().description();
  }

  @Override
  public boolean supports(Device device) {
    return first().supports(device);
  }

  @Override
  public boolean supports(DType dtype) {
    return first().supports(dtype);
  }

  @Override
  public Storage allocate(Device device, long bytes) {
    return first().allocate(device, bytes);
  }

  @Override
  public Storage wrap(ByteBuffer direct) {
    return first().wrap(direct);
  }

  /** Nothing to wait for: kernels are done when they return. */
  @Override
  public void synchronize(Device device) {}

  @Override
  public void copy(Tensor source, Tensor destination) {
    divide(
        isLarge(source) && source.shape().equals(destination.shape()),
        rows(source),
        part -> {
          Tensor from = part.rows(source);
          Tensor to = part.rows(destination);
          return engine -> engine.copy(from, to);
        });
  }

  @Override
  public void fill(Tensor tensor, double value) {
    divide(
        isLarge(tensor),
        rows(tensor),
        part -> {
          Tensor some = part.rows(tensor);
          return engine -> engine.fill(some, value);
        });
  }

  // --------------------------------------------------------------------------- element by element

  @Override
  public void add(Tensor a, Tensor b, Tensor out) {
    boolean isRow = b.shape().rank() == 1 && a.shape().rank() > 1;
    divide(
        isLarge(a) && a.shape().equals(out.shape()) && (isRow || a.shape().equals(b.shape())),
        rows(a),
        part -> {
          Tensor someA = part.rows(a);
          Tensor someB = isRow ? part.all(b) : part.rows(b);
          Tensor someOut = part.rows(out);
          return engine -> engine.add(someA, someB, someOut);
        });
  }

  @Override
  public void addScaled(double alpha, Tensor x, Tensor y) {
    divide(
        isLarge(x) && x.shape().equals(y.shape()),
        rows(x),
        part -> {
          Tensor someX = part.rows(x);
          Tensor someY = part.rows(y);
          return engine -> engine.addScaled(alpha, someX, someY);
        });
  }

  @Override
  public void scale(Tensor x, double alpha) {
    divide(
        isLarge(x),
        rows(x),
        part -> {
          Tensor some = part.rows(x);
          return engine -> engine.scale(some, alpha);
        });
  }

  @Override
  public void multiply(Tensor a, Tensor b, Tensor out) {
    eachRow(List.of(a, b, out), (engine, t) -> engine.multiply(t.get(0), t.get(1), t.get(2)));
  }

  /** A kernel on tensors of as many rows each, which it takes one by one. */
  private interface RowKernel {
    void run(Engine engine, List<Tensor> tensors);
  }

  private void eachRow(List<Tensor> tensors, RowKernel kernel) {
    Tensor first = tensors.get(0);
    boolean haveSameRows = tensors.stream().allMatch(tensor -> rows(tensor) == rows(first));
    divide(
        isLarge(first) && haveSameRows,
        rows(first),
        part -> {
          List<Tensor> some = tensors.stream().map(part::rows).toList();
          return engine -> kernel.run(engine, some);
        });
  }

  // ---------------------------------------------------------------------------------- reductions

  @Override
  public void sum(Tensor x, Tensor out) {
    total(x, out, Engine::sum);
  }

  @Override
  public void squaredNorm(Tensor x, Tensor out) {
    total(x, out, Engine::squaredNorm);
  }

  private interface Total {
    void of(Engine engine, Tensor x, Tensor out);
  }

  private void total(Tensor x, Tensor out, Total kernel) {
    if (!isLarge(x) || rows(x) < members.size()) {
      kernel.of(first(), x, out);
      return;
    }
    try (Partials partials = new Partials(DType.FLOAT64, 1)) {
      divide(
          true,
          rows(x),
          part -> {
            Tensor some = part.rows(x);
            Tensor partial = part.isWhole() ? out : partials.of(part);
            return engine -> kernel.of(engine, some, partial);
          });
      double sum = 0;
      for (int i = 0; i < members.size(); i++) {
        sum += partials.of(i).byteBuffer(0, Double.BYTES).getDouble(0);
      }
      first().fill(out, sum);
    }
  }

  @Override
  public void sumRows(Tensor x, Tensor out, boolean accumulate) {
    if (!isLarge(x) || rows(x) < members.size()) {
      first().sumRows(x, out, accumulate);
      return;
    }
    try (Partials partials = new Partials(DType.FLOAT32, x.size(-1))) {
      divide(
          true,
          rows(x),
          part -> {
            Tensor some = part.rows(x);
            Tensor partial = part.isWhole() ? out : partials.of(part);
            boolean adds = part.isWhole() && accumulate;
            return engine -> engine.sumRows(some, partial, adds);
          });
      partials.addUp(List.of(out), accumulate);
    }
  }

  @Override
  public boolean allFinite(Tensor x) {
    boolean[] finite = new boolean[members.size()];
    Arrays.fill(finite, true);
    divide(
        isLarge(x),
        rows(x),
        part -> {
          Tensor some = part.rows(x);
          return engine -> finite[part.index()] = engine.allFinite(some);
        });
    for (boolean isFinite : finite) {
      if (!isFinite) {
        return false;
      }
    }
    return true;
  }

  /** A result for each part, to be added up in the parts' order. */
  private final class Partials implements AutoCloseable {
    private final List<Tensor> tensors = new ArrayList<>();

    Partials(DType dtype, long width) {
      long bytes = dtype.bytes(width);
      Storage block = partialMemory;
      if (block == null || block.byteSize() < bytes * members.size()) {
        if (block != null) {
          partialMemory = null; // the allocation may fail
          block.free();
        }
        block = first().allocate(Device.CPU, Math.max(1, bytes * members.size()));
        partialMemory = block;
      }
      for (int i = 0; i < members.size(); i++) {
        tensors.add(Tensor.over(block, i * bytes, dtype, Shape.of(width)));
      }
    }

    Tensor of(Part part) {
      return of(part.index());
    }

    Tensor of(int index) {
      return tensors.get(index);
    }

    /** The sums, cut into as many equal pieces as there are results. */
    void addUp(List<Tensor> results, boolean accumulate) {
      Tensor sum = of(0);
      for (int i = 1; i < members.size(); i++) {
        first().addScaled(1, of(i), sum);
      }
      long width = sum.elementCount() / results.size();
      for (int i = 0; i < results.size(); i++) {
        try (Tensor piece = sum.slice(0, i * width, width)) {
          if (accumulate) {
            first().addScaled(1, piece, results.get(i));
          } else {
            first().copy(piece, results.get(i));
          }
        }
      }
    }

    @Override
    public void close() {
      tensors.forEach(Tensor::close);
    }
  }

  // ----------------------------------------------------------------------------- matrix products

  @Override
  public void matmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    boolean areMatrices = a.shape().rank() == 2 && b.shape().rank() == 2 && out.shape().rank() == 2;
    boolean byRows = !areMatrices || out.size(0) >= out.size(1);
    divide(
        areMatrices && out.elementCount() * a.size(transposeA ? 0 : 1) >= smallProduct,
        byRows ? rows(out) : out.size(1),
        part -> {
          Tensor someA = byRows ? part.along(a, transposeA ? 1 : 0) : part.all(a);
          Tensor someB = byRows ? part.all(b) : part.along(b, transposeB ? 0 : 1);
          Tensor someOut = part.along(out, byRows ? 0 : 1);
          return engine ->
              engine.matmul(someA, transposeA, someB, transposeB, someOut, alpha, accumulate);
        });
  }

  @Override
  public void batchedMatmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    divide(
        out.elementCount() > 0 && rows(a) == rows(out) && rows(b) == rows(out),
        rows(out),
        part -> {
          Tensor someA = part.rows(a);
          Tensor someB = part.rows(b);
          Tensor someOut = part.rows(out);
          return engine ->
              engine.batchedMatmul(
                  someA, transposeA, someB, transposeB, someOut, alpha, accumulate);
        });
  }

  @Override
  public void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    boolean areMatrices = x.shape().rank() == 2 && out.shape().rank() == 2;
    boolean byRows = !areMatrices || out.size(0) * 4 >= out.size(1);
    divide(
        areMatrices && out.elementCount() * x.size(1) >= smallProduct,
        byRows ? rows(out) : out.size(1),
        part -> {
          Tensor someX = byRows ? part.rows(x) : part.all(x);
          Tensor someWeight = byRows ? part.all(weight) : part.rows(weight);
          Tensor someBias = byRows ? part.allOrNull(bias) : part.rowsOrNull(bias);
          Tensor someResidual = part.alongOrNull(residual, byRows ? 0 : 1);
          Tensor someOut = part.along(out, byRows ? 0 : 1);
          return engine -> engine.linear(someX, someWeight, someBias, someResidual, someOut);
        });
  }

  // --------------------------------------------------------------------------------- activations

  @Override
  public void gelu(Tensor x, Tensor out) {
    eachRow(List.of(x, out), (engine, t) -> engine.gelu(t.get(0), t.get(1)));
  }

  @Override
  public void geluBackward(Tensor dy, Tensor x, Tensor dx) {
    eachRow(List.of(dy, x, dx), (engine, t) -> engine.geluBackward(t.get(0), t.get(1), t.get(2)));
  }

  @Override
  public void silu(Tensor x, Tensor out) {
    eachRow(List.of(x, out), (engine, t) -> engine.silu(t.get(0), t.get(1)));
  }

  @Override
  public void siluBackward(Tensor dy, Tensor x, Tensor dx) {
    eachRow(List.of(dy, x, dx), (engine, t) -> engine.siluBackward(t.get(0), t.get(1), t.get(2)));
  }

  @Override
  public void swiGlu(Tensor gate, Tensor up, Tensor out) {
    eachRow(List.of(gate, up, out), (engine, t) -> engine.swiGlu(t.get(0), t.get(1), t.get(2)));
  }

  @Override
  public void swiGluBackward(Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp) {
    eachRow(
        List.of(dy, gate, up, dGate, dUp),
        (engine, t) -> engine.swiGluBackward(t.get(0), t.get(1), t.get(2), t.get(3), t.get(4)));
  }

  @Override
  public void dropout(Tensor x, double probability, long seed, long firstIndex, Tensor out) {
    long width = rows(x) == 0 ? 0 : x.elementCount() / rows(x);
    divide(
        isLarge(x) && x.shape().equals(out.shape()),
        rows(x),
        part -> {
          Tensor some = part.rows(x);
          Tensor someOut = part.rows(out);
          long index = firstIndex + part.start() * width;
          return engine -> engine.dropout(some, probability, seed, index, someOut);
        });
  }

  // --------------------------------------------------------------------------------------- norms

  @Override
  public void layerNorm(
      Tensor x, Tensor weight, Tensor bias, double epsilon, Tensor out, Tensor mean, Tensor rstd) {
    divide(
        isLarge(x),
        rows(x),
        part -> {
          Tensor someX = part.rows(x);
          Tensor ownWeight = part.all(weight);
          Tensor ownBias = part.all(bias);
          Tensor someOut = part.rows(out);
          Tensor someMean = part.rows(mean);
          Tensor someRstd = part.rows(rstd);
          return engine ->
              engine.layerNorm(someX, ownWeight, ownBias, epsilon, someOut, someMean, someRstd);
        });
  }

  @Override
  public void layerNormBackward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      Tensor dBias,
      boolean accumulateParameters) {
    if (!isLarge(x) || rows(x) < members.size()) {
      first()
          .layerNormBackward(
              dy, x, weight, mean, rstd, dx, accumulateInput, dWeight, dBias, accumulateParameters);
      return;
    }
    long width = x.size(-1);
    try (Partials partials = new Partials(DType.FLOAT32, 2 * width)) {
      divide(
          true,
          rows(x),
          part -> {
            Tensor someDy = part.rows(dy);
            Tensor someX = part.rows(x);
            Tensor ownWeight = part.all(weight);
            Tensor someMean = part.rows(mean);
            Tensor someRstd = part.rows(rstd);
            Tensor someDx = part.rows(dx);
            Tensor ownDWeight = part.isWhole() ? dWeight : partials.of(part).slice(0, 0, width);
            Tensor ownDBias = part.isWhole() ? dBias : partials.of(part).slice(0, width, width);
            boolean adds = part.isWhole() && accumulateParameters;
            return engine ->
                engine.layerNormBackward(
                    someDy,
                    someX,
                    ownWeight,
                    someMean,
                    someRstd,
                    someDx,
                    accumulateInput,
                    ownDWeight,
                    ownDBias,
                    adds);
          });
      partials.addUp(List.of(dWeight, dBias), accumulateParameters);
    }
  }

  @Override
  public void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor rstd) {
    divide(
        isLarge(x),
        rows(x),
        part -> {
          Tensor someX = part.rows(x);
          Tensor ownWeight = part.all(weight);
          Tensor someOut = part.rows(out);
          Tensor someRstd = part.rows(rstd);
          return engine -> engine.rmsNorm(someX, ownWeight, epsilon, someOut, someRstd);
        });
  }

  @Override
  public void rmsNormBackward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      boolean accumulateParameters) {
    if (!isLarge(x) || rows(x) < members.size()) {
      first()
          .rmsNormBackward(dy, x, weight, rstd, dx, accumulateInput, dWeight, accumulateParameters);
      return;
    }
    try (Partials partials = new Partials(DType.FLOAT32, x.size(-1))) {
      divide(
          true,
          rows(x),
          part -> {
            Tensor someDy = part.rows(dy);
            Tensor someX = part.rows(x);
            Tensor ownWeight = part.all(weight);
            Tensor someRstd = part.rows(rstd);
            Tensor someDx = part.rows(dx);
            Tensor ownDWeight = part.isWhole() ? dWeight : partials.of(part);
            boolean adds = part.isWhole() && accumulateParameters;
            return engine ->
                engine.rmsNormBackward(
                    someDy, someX, ownWeight, someRstd, someDx, accumulateInput, ownDWeight, adds);
          });
      partials.addUp(List.of(dWeight), accumulateParameters);
    }
  }

  // ----------------------------------------------------------------------- embedding and position

  @Override
  public void gatherRows(Tensor table, Tensor ids, Tensor out, boolean accumulate) {
    divideGather(
        table,
        ids,
        out,
        (engine, t) -> engine.gatherRows(t.get(0), t.get(1), t.get(2), accumulate));
  }

  /**
   * @param kernel gets the table, some of the numbers, and their rows
   */
  private void divideGather(
      Tensor table, Tensor ids, Tensor out, BiConsumer<Engine, List<Tensor>> kernel) {
    divide(
        isLarge(out) && rows(ids) == rows(out),
        rows(out),
        part -> {
          List<Tensor> parts = List.of(part.all(table), part.rows(ids), part.rows(out));
          return engine -> kernel.accept(engine, parts);
        });
  }

  /** Undivided: two parts would add to the same row. */
  @Override
  public void scatterAddRows(Tensor rows, Tensor ids, Tensor table) {
    first().scatterAddRows(rows, ids, table);
  }

  @Override
  public void gatherRowsWithin(Tensor table, long firstRow, Tensor ids, Tensor out) {
    divideGather(
        table,
        ids,
        out,
        (engine, t) -> engine.gatherRowsWithin(t.get(0), firstRow, t.get(1), t.get(2)));
  }

  /** Undivided, as {@link #scatterAddRows}. */
  @Override
  public void scatterAddRowsWithin(Tensor rows, Tensor ids, Tensor table, long firstRow) {
    first().scatterAddRowsWithin(rows, ids, table, firstRow);
  }

  @Override
  public void rotary(Tensor x, Tensor cosine, Tensor sine, boolean inverse, Tensor out) {
    divide(
        isLarge(x) && x.shape().equals(out.shape()) && x.shape().rank() == 4,
        x.shape().rank() == 4 ? x.size(2) : 0,
        part -> {
          Tensor someHeads = part.along(x, 2);
          Tensor ownCosine = part.all(cosine);
          Tensor ownSine = part.all(sine);
          Tensor someOut = part.along(out, 2);
          return engine -> engine.rotary(someHeads, ownCosine, ownSine, inverse, someOut);
        });
  }

  // ----------------------------------------------------------------------------------- attention

  /** Sequences are divided where there are enough of them, otherwise key heads. */
  private record AttentionDivision(
      boolean isWorthwhile, long count, boolean bySequences, long ratio) {
    static AttentionDivision of(Tensor query, Tensor key, int threads, long smallProduct) {
      boolean isPossible =
          query.shape().rank() == 4
              && key.shape().rank() == 4
              && query.elementCount() > 0
              && key.elementCount() > 0
              && query.size(2) % key.size(2) == 0;
      if (!isPossible) {
        return new AttentionDivision(false, 0, true, 1);
      }
      boolean isLarge = query.elementCount() * key.size(1) >= smallProduct;
      boolean bySequences = query.size(0) % threads == 0 || key.size(2) < threads;
      return new AttentionDivision(
          isLarge,
          bySequences ? query.size(0) : key.size(2),
          bySequences,
          query.size(2) / key.size(2));
    }

    /** The query's range of heads follows from the key's. */
    Tensor queryPart(Part part, Tensor tensor) {
      return bySequences ? part.rows(tensor) : part.along(tensor, 2, ratio);
    }

    Tensor keyPart(Part part, Tensor tensor) {
      return bySequences ? part.rows(tensor) : part.along(tensor, 2);
    }

    Tensor statisticsPart(Part part, Tensor tensor) {
      return bySequences ? part.rows(tensor) : part.along(tensor, 1, ratio);
    }
  }

  @Override
  public void attention(
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp) {
    AttentionDivision division = AttentionDivision.of(query, key, members.size(), smallProduct);
    divide(
        division.isWorthwhile(),
        division.count(),
        part -> {
          Tensor q = division.queryPart(part, query);
          Tensor k = division.keyPart(part, key);
          Tensor v = division.keyPart(part, value);
          Tensor y = division.queryPart(part, out);
          Tensor sums = division.statisticsPart(part, logSumExp);
          return engine -> engine.attention(q, k, v, causal, scale, y, sums);
        });
  }

  @Override
  public void attentionBackward(
      Tensor dOut,
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp,
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue) {
    AttentionDivision division = AttentionDivision.of(query, key, members.size(), smallProduct);
    divide(
        division.isWorthwhile(),
        division.count(),
        part -> {
          Tensor dY = division.queryPart(part, dOut);
          Tensor q = division.queryPart(part, query);
          Tensor k = division.keyPart(part, key);
          Tensor v = division.keyPart(part, value);
          Tensor y = division.queryPart(part, out);
          Tensor sums = division.statisticsPart(part, logSumExp);
          Tensor dQ = division.queryPart(part, dQuery);
          Tensor dK = division.keyPart(part, dKey);
          Tensor dV = division.keyPart(part, dValue);
          return engine ->
              engine.attentionBackward(dY, q, k, v, causal, scale, y, sums, dQ, dK, dV);
        });
  }

  @Override
  public void mergeAttention(Tensor out, Tensor logSumExp, Tensor partOut, Tensor partLogSumExp) {
    boolean isPossible = out.shape().rank() == 4 && logSumExp.shape().rank() == 3;
    boolean bySequences = !isPossible || out.size(0) % members.size() == 0;
    AttentionDivision division =
        new AttentionDivision(
            isPossible && isLarge(out), bySequences ? rows(out) : out.size(2), bySequences, 1);
    divide(
        division.isWorthwhile(),
        division.count(),
        part -> {
          Tensor y = division.queryPart(part, out);
          Tensor sums = division.statisticsPart(part, logSumExp);
          Tensor added = division.queryPart(part, partOut);
          Tensor addedSums = division.statisticsPart(part, partLogSumExp);
          return engine -> engine.mergeAttention(y, sums, added, addedSums);
        });
  }

  // ---------------------------------------------------------------------------- softmax and loss

  @Override
  public void softmax(Tensor x, Tensor out) {
    eachRow(List.of(x, out), (engine, t) -> engine.softmax(t.get(0), t.get(1)));
  }

  @Override
  public void crossEntropy(Tensor logits, Tensor targets, Tensor losses) {
    eachRow(
        List.of(logits, targets, losses),
        (engine, t) -> engine.crossEntropy(t.get(0), t.get(1), t.get(2)));
  }

  @Override
  public void crossEntropyBackward(Tensor logits, Tensor targets, double scale) {
    eachRow(
        List.of(logits, targets),
        (engine, t) -> engine.crossEntropyBackward(t.get(0), t.get(1), scale));
  }

  @Override
  public void rowMaxima(Tensor x, Tensor maxima) {
    eachRow(List.of(x, maxima), (engine, t) -> engine.rowMaxima(t.get(0), t.get(1)));
  }

  @Override
  public void crossEntropyPart(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, Tensor picked) {
    eachRow(
        List.of(logits, targets, maxima, sums, picked),
        (engine, t) ->
            engine.crossEntropyPart(t.get(0), firstColumn, t.get(1), t.get(2), t.get(3), t.get(4)));
  }

  @Override
  public void crossEntropyOfParts(Tensor sums, Tensor picked, Tensor targets, Tensor losses) {
    eachRow(
        List.of(sums, picked, targets, losses),
        (engine, t) -> engine.crossEntropyOfParts(t.get(0), t.get(1), t.get(2), t.get(3)));
  }

  @Override
  public void crossEntropyPartBackward(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, double scale) {
    eachRow(
        List.of(logits, targets, maxima, sums),
        (engine, t) ->
            engine.crossEntropyPartBackward(
                t.get(0), firstColumn, t.get(1), t.get(2), t.get(3), scale));
  }

  // ---------------------------------------------------------------------------------- optimizers

  @Override
  public void adamW(
      AdamW update,
      Tensor parameters,
      Tensor gradients,
      Tensor firstMoments,
      Tensor secondMoments) {
    eachRow(
        List.of(parameters, gradients, firstMoments, secondMoments),
        (engine, t) -> engine.adamW(update, t.get(0), t.get(1), t.get(2), t.get(3)));
  }

  @Override
  public void sgd(Sgd update, Tensor parameters, Tensor gradients, @Nullable Tensor momenta) {
    if (momenta == null) {
      eachRow(
          List.of(parameters, gradients),
          (engine, t) -> engine.sgd(update, t.get(0), t.get(1), null));
    } else {
      eachRow(
          List.of(parameters, gradients, momenta),
          (engine, t) -> engine.sgd(update, t.get(0), t.get(1), t.get(2)));
    }
  }

  @Override
  public void close() {
    team.close();
    members.forEach(Engine::close);
    if (partialMemory != null) {
      partialMemory.free();
      partialMemory = null;
    }
  }
}
