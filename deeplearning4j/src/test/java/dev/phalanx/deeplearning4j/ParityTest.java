package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.tensor.Sample;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.assertj.core.util.DoubleComparator;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.CNN2DFormat;
import org.deeplearning4j.nn.conf.GradientNormalization;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.BatchNormalization;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.optimize.api.BaseTrainingListener;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.MultiDataSet;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.learning.config.Nesterovs;
import org.nd4j.linalg.learning.config.RmsProp;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.schedule.ScheduleType;
import org.nd4j.linalg.schedule.StepSchedule;

/** k ranks with a share of each batch are one machine with all of it. */
final class ParityTest {
  /** Sums in another order differ by rounding, which updates carry on for 50 steps. */
  private static final double TOLERANCE = 1e-5;

  private static final int STEPS = 50;

  /** Seven samples have unequal shares, three leave one of four ranks without any. */
  private static final int[] SIZES = {8, 7, 12, 3, 8};

  private record Case(
      String name, Supplier<MultiLayerNetwork> network, Supplier<List<DataSet>> batches) {
    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Arguments> networksAndRanks() {
    List<Case> cases = new ArrayList<>();
    addUpdaters(cases, "dense", Networks::dense, () -> Networks.vectors(SIZES));
    addUpdaters(cases, "convolutional", Networks::convolutional, () -> Networks.images(SIZES));
    addUpdaters(cases, "recurrent, masked", Networks::recurrent, () -> Networks.series(SIZES));
    for (GradientNormalization kind : GradientNormalization.values()) {
      cases.add(
          new Case(
              "dense, l2, " + kind,
              () ->
                  Networks.dense(
                      builder ->
                          builder
                              .l2(1e-2)
                              .l1(1e-3)
                              .gradientNormalization(kind)
                              .gradientNormalizationThreshold(0.05)),
              () -> Networks.vectors(SIZES)));
    }
    cases.add(
        new Case(
            "dense, momentum with a schedule",
            () ->
                Networks.dense(
                    builder ->
                        builder.updater(
                            new Nesterovs(
                                new StepSchedule(ScheduleType.ITERATION, 0.1, 0.5, 10), 0.9))),
            () -> Networks.vectors(SIZES)));
    cases.add(
        new Case(
            "dense, numbers of 64 bits",
            () -> Networks.dense(builder -> builder.dataType(DataType.DOUBLE)),
            () -> Networks.vectors(SIZES)));
    cases.add(
        new Case(
            "dense, sums instead of means",
            () -> Networks.dense(builder -> builder.miniBatch(false).updater(new Sgd(1e-3))),
            () -> Networks.vectors(SIZES)));
    cases.add(
        new Case(
            "recurrent, truncated",
            () ->
                Networks.initialized(
                    Networks.recurrentLayers(builder -> builder)
                        .backpropType(BackpropType.TruncatedBPTT)
                        .tBPTTLength(3)),
            () -> Networks.series(SIZES)));
    addNormalizations(cases);
    addConvolutions(cases);
    return cases.stream().flatMap(each -> ranks(each).map(ranks -> Arguments.of(each, ranks)));
  }

  /**
   * Kernels that step, leave out, reach over the edge, or have no bias; also two behind another.
   */
  private static void addConvolutions(List<Case> cases) {
    Networks.kindsOfConvolution()
        .forEach(
            (name, kind) ->
                cases.add(
                    new Case(
                        "convolution, " + name,
                        () -> Networks.convolutions(kind),
                        () -> Networks.images(SIZES))));
  }

  /** Shares of one sample and of none among them, whose own variance would be nothing. */
  private static void addNormalizations(List<Case> cases) {
    Supplier<List<DataSet>> vectors = () -> Networks.vectors(SIZES);
    cases.add(
        new Case(
            "normalized, variance",
            () -> Networks.normalized(normalization().useLogStd(false).build()),
            vectors));
    cases.add(
        new Case(
            "normalized, logarithm",
            () -> Networks.normalized(normalization().useLogStd(true).build()),
            vectors));
    cases.add(
        new Case(
            "normalized, locked",
            () -> Networks.normalized(normalization().lockGammaBeta(true).build()),
            vectors));
    cases.add(
        new Case(
            "normalized, locked to constants",
            () ->
                Networks.normalized(normalization().lockGammaBeta(true).gamma(2).beta(0.5).build()),
            vectors));
    cases.add(
        new Case(
            "normalized images of 64 bits",
            () ->
                Networks.normalizedImages(
                    normalization().build(),
                    CNN2DFormat.NCHW,
                    builder -> builder.dataType(DataType.DOUBLE)),
            () -> Networks.images(SIZES)));
    cases.add(
        new Case(
            "normalized images",
            () -> Networks.normalizedImages(normalization().build(), CNN2DFormat.NCHW),
            () -> Networks.images(SIZES)));
    cases.add(
        new Case(
            "normalized images, channels last",
            () -> Networks.normalizedImages(normalization().build(), CNN2DFormat.NHWC),
            () -> channelsLast(Networks.images(SIZES))));
  }

  private static BatchNormalization.Builder normalization() {
    return new BatchNormalization.Builder().decay(0.8);
  }

  private static List<DataSet> channelsLast(List<DataSet> images) {
    return images.stream()
        .map(each -> new DataSet(each.getFeatures().permute(0, 2, 3, 1).dup('c'), each.getLabels()))
        .toList();
  }

  /** One rank does what the network does by itself, whatever its updater. */
  private static Stream<Integer> ranks(Case each) {
    if (each.name().endsWith("adam") || each.name().startsWith("normalized")) {
      return Stream.of(1, 2, 4);
    }
    if (each.name().startsWith("convolution, ")) {
      return Stream.of(1, 3);
    }
    boolean isOfAnUpdater = each.name().endsWith("sgd") || each.name().endsWith("rmsprop");
    return isOfAnUpdater ? Stream.of(2, 4) : Stream.of(4);
  }

  private static void addUpdaters(
      List<Case> cases,
      String name,
      Function<UnaryOperator<NeuralNetConfiguration.Builder>, MultiLayerNetwork> network,
      Supplier<List<DataSet>> batches) {
    cases.add(
        new Case(
            name + ", sgd",
            () -> network.apply(builder -> builder.updater(new Sgd(0.1))),
            batches));
    cases.add(
        new Case(
            name + ", adam",
            () -> network.apply(builder -> builder.updater(new Adam(1e-3))),
            batches));
    cases.add(
        new Case(
            name + ", rmsprop",
            () -> network.apply(builder -> builder.updater(new RmsProp(1e-3))),
            batches));
  }

  @Sample(5)
  @ParameterizedTest(name = "{0}, {1} ranks")
  @MethodSource("networksAndRanks")
  void ranksWithSharesAreOneMachineWithTheWholeBatch(Case each, int ranks) throws Exception {
    List<DataSet> batches = each.batches().get();
    MultiLayerNetwork alone = each.network().get();
    MultiLayerNetwork together = each.network().get();
    Scores aloneScores = new Scores();
    Scores scores = new Scores();
    alone.setListeners(aloneScores);
    together.setListeners(scores);

    for (int step = 0; step < STEPS; step++) {
      alone.fit(batches.get(step % batches.size()));
    }
    try (ParallelTraining<MultiLayerNetwork> training = ParallelTraining.threads(together, ranks)) {
      for (int step = 0; step < STEPS; step++) {
        training.fit(batches.get(step % batches.size()));
      }
    }

    boolean isSameBits = ranks == 1 && each.batches().get().get(0).getFeatures().rank() != 4;
    assertClose(together, alone, isSameBits ? 0 : TOLERANCE);
    assertThat(together.getIterationCount()).isEqualTo(alone.getIterationCount());
    assertThat(scores.seen)
        .usingElementComparator(new DoubleComparator(1e-4))
        .containsExactlyElementsOf(aloneScores.seen);
  }

  /** What a listener sees after each iteration. */
  private static final class Scores extends BaseTrainingListener {
    final List<Double> seen = new ArrayList<>();

    @Override
    public void iterationDone(Model model, int iteration, int epoch) {
      seen.add(model.score());
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4})
  void aGraphOfSeveralInputsAndOutputsDoesTheSame(int ranks) throws Exception {
    List<MultiDataSet> batches = Networks.pairs(SIZES);
    ComputationGraph alone = Networks.graph(builder -> builder.l2(1e-3));
    ComputationGraph together = Networks.graph(builder -> builder.l2(1e-3));

    for (int step = 0; step < STEPS; step++) {
      alone.fit(batches.get(step % batches.size()));
    }
    try (ParallelTraining<ComputationGraph> training = ParallelTraining.threads(together, ranks)) {
      for (int step = 0; step < STEPS; step++) {
        training.fit(batches.get(step % batches.size()));
      }
    }

    assertClose(together, alone, ranks == 1 ? 0 : TOLERANCE);
    assertThat(together.score()).isCloseTo(alone.score(), within(1e-4));
  }

  /** Trained alone before, together, and alone again: the updater's state goes along. */
  @Test
  void theUpdatersStateComesAlongAndStays() throws Exception {
    List<DataSet> batches = Networks.vectors(SIZES);
    MultiLayerNetwork alone = Networks.dense(builder -> builder);
    MultiLayerNetwork together = Networks.dense(builder -> builder);

    for (int round = 0; round < 3; round++) {
      batches.forEach(alone::fit);
    }
    batches.forEach(together::fit);
    try (ParallelTraining<MultiLayerNetwork> training = ParallelTraining.threads(together, 2)) {
      for (DataSet batch : batches) {
        training.fit(batch);
      }
    }
    batches.forEach(together::fit);

    assertClose(together, alone, TOLERANCE);
  }

  static void assertClose(Model found, Model expected, double tolerance) {
    INDArray difference = found.params().sub(expected.params());
    assertThat(difference.amaxNumber().doubleValue()).isLessThanOrEqualTo(tolerance);
  }
}
