package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Loss;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.trainer.data.BatchSource;
import dev.phalanx.trainer.model.TokenBatch;
import dev.phalanx.trainer.model.Transformer;

/**
 * The mean loss over held-out samples. The samples are the same for every layout: micro-batch i is
 * taken by data-parallel rank i modulo their number.
 */
final class Evaluator {
  /** The mean loss of a number of tokens. */
  record Outcome(double loss, long tokens) {}

  private static final int LOSS = 0;
  private static final int TOKENS = 1;

  private final Engine engine;
  private final Arena stepArena;
  private final Transformer model;
  private final boolean isCollective; // whether all ranks must evaluate as often
  private final Communicator dataGroup;
  private final BatchSource samples;
  private final int microBatch;
  private final long sampleLimit;
  private final HostNumbers sums; // loss, tokens
  private final HostNumbers fetched;
  private final Tensor part; // [1] FLOAT64

  /**
   * @param samplesAtMost how many of the held-out samples are taken, from the first on: the same
   *     ones in every layout
   */
  Evaluator(
      Arenas arenas,
      TrainingState state,
      Communicator dataGroup,
      BatchSource samples,
      int microBatch,
      long samplesAtMost) {
    this.engine = arenas.engine();
    this.stepArena = arenas.step();
    this.model = state.model();
    this.isCollective = state.memory().isForwardCollective();
    this.dataGroup = dataGroup;
    this.samples = samples;
    this.microBatch = microBatch;
    this.sampleLimit = Math.min(samples.samplesPerEpoch(), samplesAtMost);
    this.sums = new HostNumbers(arenas.host(), 2);
    this.fetched = new HostNumbers(arenas.host(), 1);
    this.part = arenas.state().allocate(DType.FLOAT64, 1);
  }

  Outcome run() throws InterruptedException {
    double loss = 0;
    double tokens = 0;
    long stride = (long) dataGroup.size() * microBatch;
    for (long round = 0; round < sampleLimit; round += stride) {
      long first = round + (long) dataGroup.rank() * microBatch;
      int count = (int) Math.min(microBatch, sampleLimit - first);
      if (count > 0) {
        loss += lossOf(first, count);
        tokens += (double) count * samples.sequence();
      } else if (isCollective) {
        lossOf(0, 1); // the others need this rank's parts
      }
    }
    sums.set(LOSS, loss);
    sums.set(TOKENS, tokens);
    sums.allReduce(dataGroup, ReduceOperation.SUM).await();
    return new Outcome(sums.get(LOSS) / sums.get(TOKENS), (long) sums.get(TOKENS));
  }

  private double lossOf(long firstSample, int count) {
    long[] inputs = new long[count * samples.sequence()];
    long[] targets = new long[inputs.length];
    samples.fill(firstSample, count, inputs, targets);
    try (TokenBatch batch = TokenBatch.of(stepArena, count, inputs, targets);
        Tape tape = Tape.inference(stepArena)) {
      Loss loss = model.loss(tape, batch, 1, 0, 0);
      engine.sum(loss.losses(), part);
      return fetched.fetch(0, part);
    }
  }
}
