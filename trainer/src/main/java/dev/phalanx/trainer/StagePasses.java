package dev.phalanx.trainer;

import dev.phalanx.parallelism.pipeline.Action;
import dev.phalanx.parallelism.pipeline.StageWork;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.sharding.ModelMemory;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Loss;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.trainer.model.PassSetup;
import dev.phalanx.trainer.model.TokenBatch;
import dev.phalanx.trainer.model.Transformer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Passes of micro-batches through a rank's stages, in whatever order a schedule has them. What a
 * forward pass leaves for the backward pass is kept on a tape for each stage and micro-batch.
 */
final class StagePasses implements StageWork {
  /** What a pass is about, beside the model. */
  interface Samples {
    /**
     * Sequences of a micro-batch. Where there is none, one that counts nowhere stands in: other
     * ranks may need this one's part in their passes.
     */
    int count(int microBatch);

    /**
     * Writes a micro-batch's tokens and their successors, one sequence after the other.
     *
     * @param sequences how many, at least 1
     */
    void fill(int microBatch, int sequences, long[] inputs, long[] targets);

    /** The number of the micro-batch's first sequence within the global batch. */
    long firstSequence(int microBatch);
  }

  /**
   * @param scale of the loss before the backward pass
   * @param dropoutSeed of this step's masks
   * @param isTraining false: nothing is kept for a backward pass
   * @param losses hears each token's loss, on the last stage; the tensor lives during the call
   */
  record Setup(
      Samples samples,
      double scale,
      long dropoutSeed,
      boolean isTraining,
      Consumer<Tensor> losses) {}

  private record Key(int stage, int microBatch) {}

  /** A forward pass that waits for its backward pass. */
  private static final class Open implements AutoCloseable {
    final Tape tape;
    final TokenBatch batch;
    final @Nullable Tensor input;
    final @Nullable Variable received;
    @Nullable Variable output; // null: the tape ends with the loss

    Open(Tape tape, TokenBatch batch, @Nullable Tensor input) {
      this.tape = tape;
      this.batch = batch;
      this.input = input;
      this.received = input == null ? null : tape.input(input);
    }

    @Override
    public void close() {
      tape.close();
      batch.close();
      if (input != null) {
        input.close();
      }
    }
  }

  private final TrainingState state;
  private final Arena arena;
  private final Setup setup;
  private final int sequence;
  private final Map<Key, Open> open = new HashMap<>();
  private final int[] backwardsToCome; // of each part of the model

  /**
   * @param microBatches that go backward through each part of the model in this step
   */
  StagePasses(TrainingState state, Arena arena, int microBatches, Setup setup) {
    this.state = state;
    this.arena = arena;
    this.setup = setup;
    this.sequence = Math.toIntExact(state.modelConfig().sequence());
    this.backwardsToCome = new int[state.models().size()];
    Arrays.fill(backwardsToCome, microBatches);
  }

  private ModelMemory memory() {
    return state.memory();
  }

  @Override
  public Tensor allocate(int microBatch) {
    TensorGroup.Share tokens =
        state.tensorGroup().rows(sequences(microBatch) * state.contextGroup().length(sequence));
    return arena.allocate(state.dtype(), Shape.of(tokens.count(), state.modelConfig().hidden()));
  }

  @Override
  public @Nullable Tensor forward(int stage, int microBatch, @Nullable Tensor input) {
    if (setup.isTraining() && open.isEmpty()) {
      memory().beginPass();
    }
    Transformer model = state.models().get(state.partOf(stage));
    Open pass = new Open(tape(), batch(microBatch), input);
    Tensor output = null;
    PassSetup told =
        new PassSetup(
            setup.dropoutSeed(),
            setup.samples().firstSequence(microBatch),
            isCounted(microBatch) ? setup.scale() : 0);
    Variable hidden = model.forward(pass.tape, pass.batch, pass.received, told);
    if (model.stage().isLast()) {
      Loss loss = model.loss(pass.tape, hidden, pass.batch, told);
      pass.tape.release(hidden); // its gradient is there already
      if (isCounted(microBatch)) {
        setup.losses().accept(loss.losses());
      }
    } else {
      output = pass.tape.take(hidden);
      pass.output = hidden;
    }
    if (setup.isTraining()) {
      open.put(new Key(stage, microBatch), pass);
    } else {
      pass.close();
    }
    return output;
  }

  private Tape tape() {
    return setup.isTraining() ? Tape.recording(arena) : Tape.inference(arena);
  }

  private boolean isCounted(int microBatch) {
    return setup.samples().count(microBatch) > 0;
  }

  /** That go through the model. */
  private int sequences(int microBatch) {
    return Math.max(1, setup.samples().count(microBatch));
  }

  private TokenBatch batch(int microBatch) {
    int count = sequences(microBatch);
    long[] inputs = new long[Math.multiplyExact(count, sequence)];
    long[] targets = new long[inputs.length];
    setup.samples().fill(microBatch, count, inputs, targets);
    return TokenBatch.of(arena, count, inputs, targets, state.contextGroup());
  }

  @Override
  public @Nullable Tensor backward(Action action, @Nullable Tensor gradient) {
    Key key = new Key(action.stage(), action.microBatch());
    Open pass = opened(key);
    int part = state.partOf(action.stage());
    boolean isWhole = action.kind() == Action.Kind.BACKWARD;
    if (isWhole) {
      backwardsToCome[part]--;
      GradientListener listener = memory().beginBackward(part, backwardsToCome[part] == 0);
      pass.tape.backwardFrom(pass.output, gradient, listener);
    } else {
      pass.tape.backwardInputs(pass.output, gradient);
    }
    Tensor ofInput = pass.received == null ? null : pass.tape.takeGradient(pass.received);
    if (isWhole) {
      end(key, pass);
    }
    return ofInput;
  }

  @Override
  public void backwardWeight(int stage, int microBatch) {
    Key key = new Key(stage, microBatch);
    Open pass = opened(key);
    int part = state.partOf(stage);
    backwardsToCome[part]--;
    GradientListener listener = memory().beginBackward(part, backwardsToCome[part] == 0);
    pass.tape.backwardParameters(listener);
    end(key, pass);
  }

  private Open opened(Key key) {
    Open pass = open.get(key);
    if (pass == null) {
      throw new IllegalStateException("No forward pass is open for " + key);
    }
    return pass;
  }

  private void end(Key key, Open pass) {
    open.remove(key);
    pass.close();
    if (open.isEmpty()) {
      memory().endPass();
    }
  }
}
