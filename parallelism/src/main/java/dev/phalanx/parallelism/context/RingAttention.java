package dev.phalanx.parallelism.context;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.PackedHeads;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;

/**
 * Causal attention over sequences that the ranks of a {@link ContextGroup} divide: keys and values
 * go once round the ring while queries stay (Liu et al., 2023), and the results over each rank's
 * keys are merged.
 *
 * <pre>
 *   forward, step 0 to c - 1:   keys and values of rank r - step are here; those of the next step
 *                               come while attention over these is computed
 *   backward:                   the same round again; from step 1 on the gradients of keys and
 *                               values go behind them, collect what each rank adds, and end where
 *                               they belong, where their own rank's part is added
 * </pre>
 *
 * <p>With a rank's two chunks a and b, its own keys are causal over both. Of a rank before it all
 * its queries see the first chunk's keys and none the second's; of a rank behind it the queries of
 * b see both chunks and those of a none: every step is as much work.
 *
 * @param heads the tokens that are here, and their heads
 */
public record RingAttention(ContextGroup group, PackedHeads heads) {
  public RingAttention {
    if (group.isSingle() || heads.length() % 2 != 0) {
      throw new IllegalArgumentException(
          "A ring is of two ranks or more that have two equal chunks each, not of "
              + group.size()
              + " with "
              + heads.length()
              + " tokens");
    }
  }

  /** Packed projections [n, (h + 2 g) d] to the heads' results side by side [n, h d]. */
  public Variable apply(Tape tape, Variable packed) {
    Tensor out = tape.allocate(packed.value().dtype(), heads.resultShape(packed.value()));
    Tensor logSumExp = tape.allocate(DType.FLOAT32, heads.statisticsShape());
    Tensor outHeads = heads.ofResult(out);
    PackedHeads.Views x = heads.views(packed.value());
    heads.turn(tape.engine(), x, false);
    forward(tape, x, outHeads, logSumExp);
    Variable result =
        tape.record(
            out,
            List.of(packed),
            List.of(),
            List.of(packed),
            List.of(logSumExp),
            dOut ->
                tape.contributeNew(
                    packed,
                    dPacked -> {
                      PackedHeads.Views dx = heads.views(dPacked);
                      backward(tape, x, new Results(outHeads, heads.ofResult(dOut), logSumExp), dx);
                      heads.turn(tape.engine(), dx, true);
                    }));
    tape.keepResult(result);
    return result;
  }

  // ---------------------------------------------------------------------------------- who sees
  // whom

  /** Which of this rank's queries see which of another's keys; positions within what is here. */
  private record Seen(long firstQuery, long queries, long firstKey, long keys, boolean isCausal) {
    Tensor queriesOf(Tensor tensor) {
      return tensor.slice(1, firstQuery, queries);
    }

    Tensor keysOf(Tensor tensor) {
      return tensor.slice(1, firstKey, keys);
    }

    /** Of [b, h, t]. */
    Tensor statisticsOf(Tensor tensor) {
      return tensor.slice(2, firstQuery, queries);
    }
  }

  private Seen seen(int source) {
    long length = heads.length();
    long chunk = length / 2;
    if (source == group.rank()) {
      return new Seen(0, length, 0, length, true);
    }
    return source < group.rank()
        ? new Seen(0, length, 0, chunk, false)
        : new Seen(chunk, chunk, 0, length, false);
  }

  // --------------------------------------------------------------------------------------- forward

  // Where a step fails, here or in the backward pass, buffers stay open until the arena is closed:
  // messages may still be written there.

  private void forward(Tape tape, PackedHeads.Views x, Tensor out, Tensor logSumExp) {
    Engine engine = tape.engine();
    KeysAndValues here = KeysAndValues.copyOf(tape, x);
    KeysAndValues coming = KeysAndValues.like(tape, here, here.both().dtype());
    DeviceCollectives.Pending next = group.passOn(here.both(), coming.both());
    engine.attention(x.query(), x.key(), x.value(), true, heads.scale(x.query()), out, logSumExp);
    boolean isNarrow = out.dtype() != DType.FLOAT32;
    Tensor sum = isNarrow ? tape.allocate(DType.FLOAT32, out.shape()) : out;
    if (isNarrow) {
      engine.copy(out, sum);
    }
    for (int step = 1; step < group.size(); step++) {
      group.await(next);
      KeysAndValues gone = here;
      here = coming;
      coming = gone;
      next = passOnBefore(step, here, coming);
      addPart(tape, seen(group.source(step)), x.query(), here, sum, logSumExp);
    }
    if (isNarrow) {
      engine.copy(sum, out);
      sum.close();
    }
    here.close();
    coming.close();
  }

  /** The keys of the next step come while this one is computed, unless this is the last one. */
  private DeviceCollectives.Pending passOnBefore(
      int step, KeysAndValues here, KeysAndValues coming) {
    return step < group.size() - 1
        ? group.passOn(here.both(), coming.both())
        : DeviceCollectives.DONE;
  }

  private void addPart(
      Tape tape, Seen seen, Tensor query, KeysAndValues from, Tensor sum, Tensor logSumExp) {
    Engine engine = tape.engine();
    Tensor q = seen.queriesOf(query);
    Tensor part = tape.allocate(query.dtype(), q.shape());
    Tensor partSums = tape.allocate(DType.FLOAT32, Shape.of(q.size(0), q.size(2), q.size(1)));
    try (Tensor k = seen.keysOf(from.keys());
        Tensor v = seen.keysOf(from.values());
        Tensor someSum = seen.queriesOf(sum);
        Tensor someStatistics = seen.statisticsOf(logSumExp)) {
      engine.attention(q, k, v, false, heads.scale(query), part, partSums);
      engine.mergeAttention(someSum, someStatistics, part, partSums);
    }
    q.close();
    part.close();
    partSums.close();
  }

  // -------------------------------------------------------------------------------------- backward

  private record Results(Tensor out, Tensor dOut, Tensor logSumExp) {}

  private void backward(Tape tape, PackedHeads.Views x, Results results, PackedHeads.Views dx) {
    Engine engine = tape.engine();
    KeysAndValues here = KeysAndValues.copyOf(tape, x);
    KeysAndValues coming = KeysAndValues.like(tape, here, here.both().dtype());
    KeysAndValues gradients = KeysAndValues.like(tape, here, DType.FLOAT32);
    KeysAndValues gradientsComing = KeysAndValues.like(tape, here, DType.FLOAT32);
    Tensor dQuery = tape.allocate(DType.FLOAT32, x.query().shape());
    DeviceCollectives.Pending next = group.passOn(here.both(), coming.both());
    DeviceCollectives.Pending gradientsNext = DeviceCollectives.DONE;
    Slopes own = slopes(tape, seen(group.rank()), x.query(), here, results);
    engine.copy(own.query(), dQuery);
    for (int step = 1; step < group.size(); step++) {
      group.await(next);
      KeysAndValues gone = here;
      here = coming;
      coming = gone;
      next = passOnBefore(step, here, coming);
      Seen seen = seen(group.source(step));
      try (Slopes slopes = slopes(tape, seen, x.query(), here, results)) {
        group.await(gradientsNext);
        KeysAndValues sent = gradients;
        gradients = gradientsComing;
        gradientsComing = sent;
        if (step == 1) {
          engine.fill(gradients.both(), 0); // nobody has added to them yet
        }
        slopes.addTo(engine, seen, dQuery, gradients);
      }
      gradientsNext = group.passOn(gradients.both(), gradientsComing.both());
    }
    engine.copy(dQuery, dx.query());
    dQuery.close();
    group.await(gradientsNext);
    engine.addScaled(1, own.key(), gradientsComing.keys());
    engine.addScaled(1, own.value(), gradientsComing.values());
    engine.copy(gradientsComing.keys(), dx.key());
    engine.copy(gradientsComing.values(), dx.value());
    own.close();
    here.close();
    coming.close();
    gradients.close();
    gradientsComing.close();
  }

  /** What one rank's keys give to the gradients of what was seen. */
  private record Slopes(Tensor query, Tensor key, Tensor value) implements AutoCloseable {
    void addTo(Engine engine, Seen seen, Tensor dQuery, KeysAndValues gradients) {
      try (Tensor someQueries = seen.queriesOf(dQuery);
          Tensor someKeys = seen.keysOf(gradients.keys());
          Tensor someValues = seen.keysOf(gradients.values())) {
        engine.addScaled(1, query, someQueries);
        engine.addScaled(1, key, someKeys);
        engine.addScaled(1, value, someValues);
      }
    }

    @Override
    public void close() {
      query.close();
      key.close();
      value.close();
    }
  }

  /** The softmax is that over all keys, whose logarithm of sums the forward pass has kept. */
  private Slopes slopes(Tape tape, Seen seen, Tensor query, KeysAndValues from, Results results) {
    try (Tensor q = seen.queriesOf(query);
        Tensor k = seen.keysOf(from.keys());
        Tensor v = seen.keysOf(from.values());
        Tensor out = seen.queriesOf(results.out());
        Tensor dOut = seen.queriesOf(results.dOut());
        Tensor statistics = seen.statisticsOf(results.logSumExp())) {
      Slopes slopes =
          new Slopes(
              tape.allocate(query.dtype(), q.shape()),
              tape.allocate(query.dtype(), k.shape()),
              tape.allocate(query.dtype(), v.shape()));
      tape.engine()
          .attentionBackward(
              dOut,
              q,
              k,
              v,
              seen.isCausal(),
              heads.scale(query),
              out,
              statistics,
              slopes.query(),
              slopes.key(),
              slopes.value());
      return slopes;
    }
  }

  /** Of one rank, in one piece, so that one message carries both. */
  private record KeysAndValues(Tensor both, Tensor keys, Tensor values) implements AutoCloseable {
    /** [2 b, t, g, d]: of all sequences the keys, then the values. */
    static KeysAndValues of(Tensor both) {
      long batch = both.size(0) / 2;
      return new KeysAndValues(both, both.slice(0, 0, batch), both.slice(0, batch, batch));
    }

    static KeysAndValues copyOf(Tape tape, PackedHeads.Views x) {
      Shape one = x.key().shape();
      KeysAndValues copy =
          of(
              tape.allocate(
                  x.key().dtype(),
                  Shape.of(2 * one.size(0), one.size(1), one.size(2), one.size(3))));
      tape.engine().copy(x.key(), copy.keys);
      tape.engine().copy(x.value(), copy.values);
      return copy;
    }

    static KeysAndValues like(Tape tape, KeysAndValues other, DType dtype) {
      return of(tape.allocate(dtype, other.both.shape()));
    }

    /** The views end with what they are of. */
    @Override
    public void close() {
      both.close();
    }
  }
}
