package dev.phalanx.parallelism.tensor;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Embedding;
import dev.phalanx.tensor.autograd.Linear;
import dev.phalanx.tensor.autograd.LinearCrossEntropy;
import dev.phalanx.tensor.autograd.Loss;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A table [vocabulary, d] whose rows the ranks divide, as even as can be: the embedding of tokens,
 * the projection of hidden states to the vocabulary, or both (Shoeybi et al., 2019, "Megatron-LM",
 * 3). Ranks with one row less than others have a row of padding, which nothing reads.
 */
public final class VocabularyTable {
  private final TensorGroup group;
  private final Parameter table;
  private final TensorGroup.Share rows;

  /**
   * @param vocabulary at least the group's ranks
   * @param copies the ranks of other groups that hold the same rows
   */
  public VocabularyTable(
      TensorGroup group,
      String name,
      long vocabulary,
      long width,
      Optional<Partition.Copies> copies,
      Parameter.Initializer initializer) {
    this.group = group;
    this.rows = group.share(vocabulary);
    Shape shape = Shape.of(vocabulary, width);
    long most = (vocabulary + group.size() - 1) / group.size();
    Partition own =
        group.isSingle()
            ? Partition.whole(shape)
            : new Partition(
                shape,
                List.of(
                    new Partition.Block(rows.first(), rows.count(), 0, width, Optional.empty())),
                most - rows.count());
    this.table =
        new Parameter(name, group.replicated(copies.map(own::alsoHeldBy).orElse(own)), initializer);
  }

  /** [rows of this rank, d]. */
  public Parameter parameter() {
    return table;
  }

  /** Some tensor's rows without padding: itself, or a view that is closed after use. */
  private final class OwnRows implements AutoCloseable {
    private final Tensor tensor;
    private final boolean isView;

    OwnRows(Tensor padded) {
      this.isView = rows.count() < padded.size(0);
      this.tensor = isView ? padded.slice(0, 0, rows.count()) : padded;
    }

    @Override
    public void close() {
      if (isView) {
        tensor.close();
      }
    }
  }

  /** Adds to the gradient of this rank's rows; the padding's is zero. */
  private void contribute(Tape tape, Tape.GradientWriter writer) {
    tape.contribute(
        table,
        (gradient, accumulate) -> {
          try (OwnRows own = new OwnRows(gradient)) {
            if (!accumulate && own.isView) {
              try (Tensor padding =
                  gradient.slice(0, rows.count(), gradient.size(0) - rows.count())) {
                tape.engine().fill(padding, 0);
              }
            }
            writer.write(own.tensor, accumulate);
          }
        });
  }

  // -------------------------------------------------------------------------------- embedding

  /**
   * The rows [n, d] of tokens, plus rows of a second table by position where there is one, of those
   * tokens that are here.
   *
   * @param tokens [all n] INT64
   * @param positionTable of which every rank has a copy
   * @param positions [all n] INT64; read only with {@code positionTable}
   */
  public Variable embed(
      Tape tape, Tensor tokens, @Nullable Parameter positionTable, Tensor positions) {
    if (group.isSingle()) {
      return Embedding.apply(tape, table, tokens, positionTable, positions);
    }
    Engine engine = tape.engine();
    TensorGroup.Share here = group.rows(tokens.size(0));
    Tensor x = gather(tape, tokens);
    if (positionTable != null) {
      try (Tensor some = positions.slice(0, here.first(), here.count())) {
        engine.gatherRows(positionTable.value(), some, x, true);
      }
    }
    return tape.record(
        x,
        List.of(),
        positionTable == null ? List.of(table) : List.of(table, positionTable),
        List.of(),
        List.of(),
        dx -> {
          try (Gathered all = Gathered.start(group, tape, dx)) {
            if (positionTable != null) {
              Embedding.scatter(
                  tape, dx, positions.slice(0, here.first(), here.count()), positionTable);
            }
            contribute(
                tape,
                (dTable, accumulate) -> {
                  if (!accumulate) {
                    engine.fill(dTable, 0);
                  }
                  engine.scatterAddRowsWithin(all.await(), tokens, dTable, rows.first());
                });
          }
        });
  }

  private Tensor gather(Tape tape, Tensor tokens) {
    DType dtype = table.value().dtype();
    Shape whole = Shape.of(tokens.size(0), table.shape().size(1));
    Tensor x = tape.allocate(dtype, group.ownRows(whole));
    if (!group.isSequenceParallel()) {
      gatherOwn(tape, tokens, x);
      group.sum(x);
      return x;
    }
    try (Tensor part = tape.allocate(dtype, whole)) {
      gatherOwn(tape, tokens, part);
      group.await(group.startSumRows(part, x));
    }
    return x;
  }

  private void gatherOwn(Tape tape, Tensor tokens, Tensor out) {
    try (OwnRows own = new OwnRows(table.value())) {
      tape.engine().gatherRowsWithin(own.tensor, rows.first(), tokens, out);
    }
  }

  // ------------------------------------------------------------------------ projection and loss

  /**
   * The logits [n, vocabulary], of a table that is whole.
   *
   * @param x [n, d]
   */
  public Variable logits(Tape tape, Variable x) {
    if (!group.isSingle()) {
      throw new IllegalStateException(
          "Logits of " + table + " lie on " + group.size() + " ranks and are not brought together");
    }
    return Linear.apply(tape, x, table, null, null);
  }

  /**
   * The loss of a classifier whose logits are products with this table's rows, {@link
   * LinearCrossEntropy} with the logits left where they are: ranks tell each other three numbers a
   * token, by an all-reduce each (the largest logit, the sum of exponentials, the target's logit).
   * Rows are taken in chunks, as there; each chunk has its three.
   *
   * @param x [n, d], of those tokens that are here
   * @param targets [all n] INT64; negative ones do not count
   * @param scale see {@link dev.phalanx.tensor.autograd.CrossEntropy}
   * @return the losses of all n tokens, on every rank
   */
  public Loss loss(Tape tape, Variable x, Tensor targets, double scale) {
    if (group.isSingle()) {
      return LinearCrossEntropy.apply(tape, x, table, targets, scale);
    }
    Engine engine = tape.engine();
    DType dtype = x.value().dtype();
    Shape all = group.allRows(x.shape());
    Tensor losses = tape.allocate(DType.FLOAT32, Shape.of(all.size(0)));
    boolean isRecording = tape.isRecording();
    Tensor dx = tape.allocate(dtype, isRecording ? x.shape() : Shape.of(0));
    boolean isApart = isRecording && group.isSequenceParallel();
    Tensor dxOfAll = isApart ? tape.allocate(dtype, all) : dx;
    DeviceCollectives.Pending sum = DeviceCollectives.DONE;
    try (Gathered input = Gathered.start(group, tape, x.value())) {
      Tensor values = input.await();
      long chunk = LinearCrossEntropy.rowsAtOnce(dtype, table.shape().size(0));
      for (long start = 0; start < all.size(0); start += chunk) {
        long count = Math.min(chunk, all.size(0) - start);
        Tensor some = values.slice(0, start, count);
        Tensor logits =
            loss(tape, some, targets.slice(0, start, count), losses.slice(0, start, count), scale);
        if (isRecording) {
          try (OwnRows own = new OwnRows(table.value())) {
            engine.matmul(
                logits, false, own.tensor, false, dxOfAll.slice(0, start, count), 1, false);
          }
          if (start + count == all.size(0)) { // under way while the table's gradient is computed
            sum = isApart ? group.startSumRows(dxOfAll, dx) : group.startSum(dx);
          }
          contribute(
              tape,
              (dTable, accumulate) ->
                  engine.matmul(logits, true, some, false, dTable, 1, accumulate));
        }
        logits.close();
      }
      group.await(sum);
    }
    if (isApart) {
      dxOfAll.close();
    }
    tape.own(dx);
    return tape.recordLoss(losses, List.of(table), List.of(), List.of(), () -> tape.give(x, dx));
  }

  /** Of some rows; leaves the gradient of their logits where those are wanted. */
  private Tensor loss(Tape tape, Tensor x, Tensor targets, Tensor losses, double scale) {
    Engine engine = tape.engine();
    long count = x.size(0);
    Tensor logits = tape.allocate(x.dtype(), Shape.of(count, rows.count()));
    try (Tensor maxima = tape.allocate(DType.FLOAT32, Shape.of(count));
        Tensor sums = tape.allocate(DType.FLOAT32, Shape.of(count));
        Tensor picked = tape.allocate(DType.FLOAT32, Shape.of(count));
        OwnRows own = new OwnRows(table.value())) {
      engine.matmul(x, false, own.tensor, true, logits, 1, false);
      engine.rowMaxima(logits, maxima);
      group.maximum(maxima);
      engine.crossEntropyPart(logits, rows.first(), targets, maxima, sums, picked);
      DeviceCollectives.Pending sum = group.startSum(sums);
      group.sum(picked);
      group.await(sum);
      engine.crossEntropyOfParts(sums, picked, targets, losses);
      if (tape.isRecording()) {
        engine.crossEntropyPartBackward(logits, rows.first(), targets, maxima, sums, scale);
      }
    }
    return logits;
  }
}
