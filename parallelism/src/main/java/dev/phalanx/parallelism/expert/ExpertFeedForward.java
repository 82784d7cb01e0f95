package dev.phalanx.parallelism.expert;

import dev.phalanx.parallelism.tensor.DividedRegion;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.GatherRows;
import dev.phalanx.tensor.autograd.GroupedLinear;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.autograd.WeightedSum;
import dev.phalanx.tensor.nn.Layer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * The feed-forward half of a layer as a mixture of experts, each of them without biases:
 *
 * <pre>
 *   tokens [n, hidden]
 *     router: k experts of each, and gates                    {@link Router}
 *     rows by expert [n k, hidden]                            {@link Dispatch}
 *     all-to-all: rows to the ranks of their experts
 *     widen, activate, narrow, each expert its rows           {@link GroupedLinear}
 *     all-to-all: rows back
 *   sum of each token's rows, times gates [n, hidden]
 * </pre>
 *
 * <p>Ranks of the expert group have whole experts, ranks of the tensor group a part of each one's
 * width. Parameters hold all experts, one below the other: {@code router.weight} [experts, hidden],
 * {@code experts.fc.weight} [experts * width, hidden], of a gated layer twice as many rows, for
 * each expert its gate and then its other half, and {@code experts.out.weight} [experts * hidden,
 * width].
 */
public final class ExpertFeedForward implements Layer {
  private final Mixture mixture;
  private final TensorGroup tensor;
  private final ExpertGroup group;
  private final BiFunction<Tape, Variable, Variable> activation;
  private final Router router;
  private final Parameter widening;
  private final Parameter narrowing;
  private final int halves; // of what an expert widens to

  /**
   * @param prefix of the parameters' names, as {@code "h.0."}
   * @param width of each expert's hidden values
   * @param isGated whether values come in two halves, of which the first is the other's gate
   * @param activation [n, width of what it takes] to [n, width]
   * @param initializers by the parameter's name
   */
  public ExpertFeedForward(
      Mixture mixture,
      TensorGroup tensor,
      ExpertGroup group,
      String prefix,
      long hidden,
      long width,
      boolean isGated,
      BiFunction<Tape, Variable, Variable> activation,
      Function<String, Parameter.Initializer> initializers) {
    this.mixture = mixture;
    this.tensor = tensor;
    this.group = group;
    this.activation = activation;
    String routerName = prefix + "router";
    this.router =
        new Router(tensor, mixture, routerName, hidden, initializers.apply(routerName + ".weight"));
    this.halves = isGated ? 2 : 1;
    String in = prefix + "experts.fc.weight";
    this.widening = new Parameter(in, wideningRows(hidden, width), initializers.apply(in));
    String out = prefix + "experts.out.weight";
    this.narrowing = new Parameter(out, narrowingRows(hidden, width), initializers.apply(out));
  }

  /** Of each expert here this rank's rows of each half; all in one block where they are whole. */
  private Partition wideningRows(long hidden, long width) {
    int experts = group.own(mixture.experts());
    long first = (long) group.rank() * experts * halves;
    TensorGroup.Share own = tensor.share(width);
    List<Partition.Block> blocks = new ArrayList<>();
    if (tensor.isSingle()) {
      blocks.add(block(first * width, experts * halves * width, new TensorGroup.Share(0, hidden)));
    }
    for (long half = first; half < first + experts * halves && !tensor.isSingle(); half++) {
      blocks.add(block(half * width + own.first(), own.count(), new TensorGroup.Share(0, hidden)));
    }
    return new Partition(Shape.of(mixture.experts() * halves * width, hidden), blocks, 0);
  }

  /** Of each expert here this rank's columns. */
  private Partition narrowingRows(long hidden, long width) {
    int experts = group.own(mixture.experts());
    return new Partition(
        Shape.of(mixture.experts() * hidden, width),
        List.of(block(group.rank() * experts * hidden, experts * hidden, tensor.share(width))),
        0);
  }

  private static Partition.Block block(long row, long rows, TensorGroup.Share columns) {
    return new Partition.Block(row, rows, columns.first(), columns.count(), Optional.empty());
  }

  /** [n, hidden] to [n, hidden], of those tokens that are here. */
  public Variable forward(Tape tape, Variable x, RoutedTokens tokens) {
    Variable all = DividedRegion.enter(tensor, tape, x);
    Router.Chosen chosen = router.choose(tape, all, tokens);
    Dispatch dispatch = chosen.dispatch();
    Variable rows = GatherRows.apply(tape, all, dispatch.tokens(mixture.perToken()));
    if (all != x) {
      tape.release(all);
    }
    Variable results = throughRanks(tape, rows, dispatch);
    Variable ofTokens = GatherRows.permute(tape, results, dispatch.rows(), dispatch.choices());
    tape.release(results);
    Variable sums = WeightedSum.apply(tape, ofTokens, chosen.gates());
    tape.release(ofTokens);
    return DividedRegion.leave(tensor, tape, sums);
  }

  /** Rows in the order of all experts to what these make of them. */
  private Variable throughRanks(Tape tape, Variable rows, Dispatch dispatch) {
    if (group.isSingle()) {
      return throughExperts(tape, rows, dispatch.counts());
    }
    Dispatch.Arrived arrived =
        Dispatch.Arrived.of(group.exchangeCounts(dispatch.counts()), group.size());
    long[] leaving = dispatch.countsOfRanks(group.size());
    Variable received = ExchangedRows.apply(group, tape, rows, leaving, arrived.ofRanks());
    tape.release(rows);
    Variable sorted = GatherRows.permute(tape, received, arrived.sorted(), arrived.back());
    tape.release(received);
    Variable results = throughExperts(tape, sorted, arrived.counts());
    Variable unsorted = GatherRows.permute(tape, results, arrived.back(), arrived.sorted());
    tape.release(results);
    Variable returned = ExchangedRows.apply(group, tape, unsorted, arrived.ofRanks(), leaving);
    tape.release(unsorted);
    return returned;
  }

  private Variable throughExperts(Tape tape, Variable rows, long[] counts) {
    Variable widened = GroupedLinear.apply(tape, rows, widening, counts);
    tape.release(rows);
    Variable activated = activation.apply(tape, widened);
    tape.release(widened);
    Variable results = GroupedLinear.apply(tape, activated, narrowing, counts);
    tape.release(activated);
    return results;
  }

  /**
   * How many of this rank's tokens each expert has got, in passes that learn, since this was asked
   * last.
   *
   * @return [experts]
   */
  public long[] takeLoad() {
    return router.takeLoad();
  }

  /** The rows of each matrix of each expert in one of this layer's parameters; empty in others. */
  public List<Long> matrices(Parameter parameter) {
    if (parameter != widening && parameter != narrowing) {
      return List.of();
    }
    int count = parameter == widening ? mixture.experts() * halves : mixture.experts();
    return Collections.nCopies(count, parameter.partition().whole().size(0) / count);
  }

  @Override
  public List<Parameter> parameters() {
    return Stream.concat(router.parameters().stream(), Stream.of(widening, narrowing)).toList();
  }
}
