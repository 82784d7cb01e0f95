package dev.phalanx.trainer;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.parallelism.pipeline.Action;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.BatchSource;
import java.util.List;
import java.util.OptionalDouble;

/**
 * The mean loss over held-out samples. The samples are the same for every layout: micro-batch i is
 * taken by data-parallel rank i modulo their number.
 */
final class Evaluator {
  private static final int LOSS = 0;
  private static final int TOKENS = 1;

  private final Engine engine;
  private final Arena stepArena;
  private final TrainingState state;
  private final RankGroups groups;
  private final BatchSource samples;
  private final int microBatch;
  private final long sampleLimit;
  private final HostNumbers sums; // loss, tokens
  private final HostNumbers fetched;
  private final Tensor part; // [1] FLOAT64
  private double loss;

  /**
   * @param samplesAtMost how many of the held-out samples are taken, from the first on: the same
   *     ones in every layout
   */
  Evaluator(
      Arenas arenas,
      TrainingState state,
      RankGroups groups,
      BatchSource samples,
      JobConfig job,
      long samplesAtMost) {
    this.engine = arenas.engine();
    this.stepArena = arenas.step();
    this.state = state;
    this.groups = groups;
    this.samples = samples;
    this.microBatch = Math.toIntExact(job.batch().micro());
    this.sampleLimit = Math.min(samples.samplesPerEpoch(), samplesAtMost);
    this.sums = new HostNumbers(arenas.host(), 2);
    this.fetched = new HostNumbers(arenas.host(), 1);
    this.part = arenas.state().allocate(DType.FLOAT64, 1);
  }

  Evaluation run() throws InterruptedException {
    loss = 0;
    double tokens = 0;
    long stride = (long) groups.batchShares() * microBatch;
    for (long round = 0; round < sampleLimit; round += stride) {
      long first = round + (long) groups.batchShare() * microBatch;
      int count = (int) Math.max(0, Math.min(microBatch, sampleLimit - first));
      if (count > 0 || state.isForwardCollective()) { // the others may need this rank's parts
        addLossOf(count > 0 ? first : 0, count);
        tokens += (double) count * state.contextGroup().length(samples.sequence());
      }
    }
    sums.set(LOSS, groups.countsLosses() ? loss : 0);
    sums.set(TOKENS, groups.countsLosses() ? tokens : 0);
    sums.allReduce(groups.world(), ReduceOperation.SUM).await();
    return new Evaluation(
        sums.get(LOSS) / sums.get(TOKENS), (long) sums.get(TOKENS), OptionalDouble.empty());
  }

  /**
   * A pass through all stages; each rank calls it for the same samples as the others of its copy.
   */
  private void addLossOf(long firstSample, int count) {
    StagePasses passes =
        new StagePasses(
            state,
            stepArena,
            0,
            new StagePasses.Setup(
                samplesOf(firstSample, count),
                1,
                0,
                false,
                losses -> {
                  engine.sum(losses, part);
                  loss += fetched.fetch(0, part);
                }));
    List<Action> forwards =
        state.stages().stream().map(stage -> new Action(stage, Action.Kind.FORWARD, 0)).toList();
    state.pipeline().run(forwards, passes);
  }

  private StagePasses.Samples samplesOf(long firstSample, int samplesOfBatch) {
    return new StagePasses.Samples() {
      @Override
      public int count(int microBatch) {
        return samplesOfBatch;
      }

      @Override
      public void fill(int microBatch, int sequences, long[] inputs, long[] targets) {
        samples.fill(firstSample, sequences, inputs, targets);
      }

      @Override
      public long firstSequence(int microBatch) {
        return 0;
      }
    };
  }
}
