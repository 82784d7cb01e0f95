package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.device.InterruptedWaitException;
import java.util.ArrayList;
import java.util.List;
import org.deeplearning4j.earlystopping.EarlyStoppingConfiguration;
import org.deeplearning4j.earlystopping.EarlyStoppingResult;
import org.deeplearning4j.earlystopping.saver.InMemoryModelSaver;
import org.deeplearning4j.earlystopping.termination.EpochTerminationCondition;
import org.deeplearning4j.earlystopping.termination.IterationTerminationCondition;
import org.deeplearning4j.earlystopping.trainer.BaseEarlyStoppingTrainer;
import org.deeplearning4j.nn.api.Model;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;

/**
 * Deeplearning4j's early stopping over a network that several ranks train. Where ranks are
 * processes all of them run it, with equal configurations: parameters and so scores are the same
 * everywhere, and what depends on the clock rank 0 decides; rank 0 alone saves models.
 *
 * @param <M> {@code MultiLayerNetwork} or {@code ComputationGraph}
 */
public final class ParallelEarlyStoppingTrainer<M extends Model>
    extends BaseEarlyStoppingTrainer<M> {
  private final ParallelNetwork<M> network;
  private @Nullable RuntimeException failure; // of a batch
  private int epochs; // that have begun

  /** Over batches of one input and output. */
  public ParallelEarlyStoppingTrainer(
      EarlyStoppingConfiguration<M> configuration,
      ParallelNetwork<M> network,
      DataSetIterator batches) {
    this(configuration, network, batches, null);
  }

  /** Over batches of several inputs or outputs. */
  public ParallelEarlyStoppingTrainer(
      EarlyStoppingConfiguration<M> configuration,
      ParallelNetwork<M> network,
      MultiDataSetIterator batches) {
    this(configuration, network, null, batches);
  }

  @SuppressWarnings("NullAway") // Deeplearning4j takes null for the other kind, and for no listener
  private ParallelEarlyStoppingTrainer(
      EarlyStoppingConfiguration<M> configuration,
      ParallelNetwork<M> network,
      @Nullable DataSetIterator single,
      @Nullable MultiDataSetIterator multiple) {
    super(agreed(configuration, network), network.network(), single, multiple, null);
    this.network = network;
  }

  private static <M extends Model> EarlyStoppingConfiguration<M> agreed(
      EarlyStoppingConfiguration<M> configuration, ParallelNetwork<M> network) {
    if (!(network instanceof DataParallelNetwork<M> rank)) {
      return configuration;
    }
    List<IterationTerminationCondition> conditions = new ArrayList<>();
    for (IterationTerminationCondition condition :
        configuration.getIterationTerminationConditions()) {
      conditions.add(new Agreed(condition, rank));
    }
    List<EpochTerminationCondition> epochConditions = new ArrayList<>();
    for (EpochTerminationCondition condition : configuration.getEpochTerminationConditions()) {
      epochConditions.add(new AgreedAfterEpoch(condition, rank));
    }
    EarlyStoppingConfiguration.Builder<M> builder =
        new EarlyStoppingConfiguration.Builder<M>()
            .epochTerminationConditions(epochConditions)
            .iterationTerminationConditions(
                conditions.toArray(IterationTerminationCondition[]::new))
            .evaluateEveryNEpochs(configuration.getEvaluateEveryNEpochs())
            .saveLastModel(configuration.isSaveLastModel())
            .scoreCalculator(configuration.getScoreCalculator());
    return builder
        .modelSaver(rank.rank() == 0 ? configuration.getModelSaver() : new InMemoryModelSaver<>())
        .build();
  }

  /** A condition that all ranks find true at once. */
  private static final class Agreed implements IterationTerminationCondition {
    private static final long serialVersionUID = 1L;

    private final transient IterationTerminationCondition condition;
    private final transient DataParallelNetwork<?> rank;

    Agreed(IterationTerminationCondition condition, DataParallelNetwork<?> rank) {
      this.condition = condition;
      this.rank = rank;
    }

    @Override
    public void initialize() {
      condition.initialize();
    }

    @Override
    public boolean terminate(double lastScore) {
      return decision(rank, condition.terminate(lastScore));
    }

    @Override
    public String toString() {
      return condition.toString();
    }
  }

  /** The same after an epoch. */
  private static final class AgreedAfterEpoch implements EpochTerminationCondition {
    private static final long serialVersionUID = 1L;

    private final transient EpochTerminationCondition condition;
    private final transient DataParallelNetwork<?> rank;

    AgreedAfterEpoch(EpochTerminationCondition condition, DataParallelNetwork<?> rank) {
      this.condition = condition;
      this.rank = rank;
    }

    @Override
    public void initialize() {
      condition.initialize();
    }

    @Override
    public boolean terminate(int epoch, double score, boolean isMinimized) {
      return decision(rank, condition.terminate(epoch, score, isMinimized));
    }

    @Override
    public String toString() {
      return condition.toString();
    }
  }

  private static boolean decision(DataParallelNetwork<?> rank, boolean own) {
    try {
      return rank.decide(own);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedWaitException(e);
    }
  }

  /**
   * Trains until a condition ends it.
   *
   * @throws dev.phalanx.collectives.CollectiveException where another rank is lost
   * @throws IllegalStateException where a thread or the iterator failed
   */
  @Override
  public EarlyStoppingResult<M> fit() {
    return super.fit();
  }

  /** The base class makes a result of what a batch throws, or fails while it does. */
  @Override
  protected EarlyStoppingResult<M> fit(boolean isPretraining) {
    failure = null;
    epochs = 0;
    EarlyStoppingResult<M> result;
    try {
      result = super.fit(isPretraining);
    } catch (RuntimeException e) {
      throw failure == null ? e : failure;
    }
    if (failure != null) {
      throw failure;
    }
    if (result.getTerminationReason() == EarlyStoppingResult.TerminationReason.Error) {
      throw new IllegalStateException(
          "The iterator of early stopping failed: " + result.getTerminationDetails());
    }
    return result;
  }

  /**
   * From here on a thread asks for batches ahead, and their order may follow from the epoch's
   * number, which the base class sets only afterwards.
   */
  @Override
  protected void reset() {
    TrainedNetwork trained = TrainedNetwork.of(network.network());
    trained.setProgress(trained.iterations(), epochs);
    epochs++;
    super.reset();
  }

  @Override
  protected void fit(DataSet batch) {
    fit(batch.toMultiDataSet());
  }

  @Override
  protected void fit(MultiDataSet batch) {
    try {
      network.fit(batch);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw failed(new InterruptedWaitException(e));
    } catch (RuntimeException e) {
      throw failed(e);
    }
  }

  private RuntimeException failed(RuntimeException e) {
    failure = e;
    return e;
  }

  @Override
  protected void pretrain(DataSet batch) {
    throw failed(noPretraining());
  }

  @Override
  protected void pretrain(MultiDataSet batch) {
    throw failed(noPretraining());
  }

  private static UnsupportedOperationException noPretraining() {
    return new UnsupportedOperationException(
        "Layers are not pretrained on several ranks: pretrain the network alone, before.");
  }
}
