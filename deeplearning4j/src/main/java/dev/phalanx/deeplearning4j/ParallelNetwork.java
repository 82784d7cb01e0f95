package dev.phalanx.deeplearning4j;

import java.io.IOException;
import java.nio.file.Path;
import org.deeplearning4j.nn.api.Model;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.adapter.MultiDataSetIteratorAdapter;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;

/**
 * A Deeplearning4j network that several ranks train together: all of them, as threads ({@link
 * ParallelTraining}), or one of them ({@link DataParallelNetwork}), and then all ranks make the
 * same calls.
 *
 * @param <M> {@code MultiLayerNetwork} or {@code ComputationGraph}
 */
public sealed interface ParallelNetwork<M extends Model> extends AutoCloseable
    permits ParallelTraining, DataParallelNetwork {
  /** The network, trained in place; of rank 0 where the ranks are threads. */
  M network();

  /** How many ranks train together. */
  int ranks();

  /**
   * Trains for some epochs; each rank computes its share of each batch.
   *
   * @throws dev.phalanx.collectives.CollectiveException where another rank is lost
   * @throws IllegalStateException where ranks come with different batches, or a thread failed
   */
  default void fit(DataSetIterator batches, int epochs) throws InterruptedException {
    fit(new MultiDataSetIteratorAdapter(batches), epochs);
  }

  /** {@link #fit(DataSetIterator, int)} for several inputs or outputs. */
  void fit(MultiDataSetIterator batches, int epochs) throws InterruptedException;

  /** Trains on one batch, of which each rank computes its share. */
  default void fit(DataSet batch) throws InterruptedException {
    fit(batch.toMultiDataSet());
  }

  /** {@link #fit(DataSet)} for several inputs or outputs. */
  void fit(MultiDataSet batch) throws InterruptedException;

  /**
   * Goes on from a checkpoint: parameters, updater, counts, residuals of compression. The next
   * {@code fit} of an iterator leaves out the batches of its epoch that are done, so the iterator
   * must give them in the same order again.
   *
   * @param from a checkpoint, or a folder whose newest one is taken
   * @return whether there was one
   * @throws dev.phalanx.checkpoint.BadCheckpointException where it is damaged or another network's
   */
  boolean resume(Path from) throws IOException, InterruptedException;

  /**
   * Saves a checkpoint now, in the folder that {@link TrainingOptions#checkpoints} names.
   *
   * @throws IllegalStateException where it names none
   * @throws dev.phalanx.checkpoint.CheckpointWriteException where it could not be written
   * @throws dev.phalanx.trainer.RankZeroWriteException on ranks other than 0 then
   */
  void saveCheckpoint() throws InterruptedException;

  /**
   * What rank 0 has decided, on every rank.
   *
   * @param own what this rank would decide
   */
  boolean decide(boolean own) throws InterruptedException;

  /** Time that this rank has waited for others since the start. */
  double waitedMillis();

  /** Leaves the network to itself, with the state of its updater. */
  @Override
  void close();
}
