package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Records the operations of one forward pass and runs them backwards.
 *
 * <p>The walk: an operation computes its result, then {@link #record}s what the backward needs.
 * {@link #backward} takes the records in reverse; each turns the gradient of its result into
 * contributions to its inputs ({@link #contribute}, {@link #give}) and into gradients of
 * parameters, written in place. A result is freed as soon as no earlier record needs it, so memory
 * falls while the pass goes on. A parameter used several times (a tied embedding) is complete when
 * its last use is.
 *
 * <p>One tape serves one micro-batch on one thread. An inference tape runs the same code and
 * records nothing.
 */
public final class Tape implements AutoCloseable {
  /**
   * The backward of one operation; {@code dOutput} is the gradient of its result, which the tape
   * frees afterwards.
   */
  @FunctionalInterface
  public interface Backward {
    void run(Tensor dOutput);
  }

  /** Writes a gradient into {@code destination}, or adds it where {@code accumulate} is true. */
  @FunctionalInterface
  public interface GradientWriter {
    void write(Tensor destination, boolean accumulate);
  }

  private record Node(
      Runnable backward, List<Parameter> parameters, List<Variable> needed, List<Tensor> saved) {}

  /** What a node has left for later, and what of it must stay until then. */
  private record Later(Node node, List<Runnable> writers, List<Tensor> gradients) {}

  private final Arena arena;
  private final boolean recording;
  private final List<Node> nodes = new ArrayList<>();
  private final List<Variable> variables = new ArrayList<>();
  private final Map<Parameter, int[]> openUses = new IdentityHashMap<>();
  private final Set<Parameter> usedParameters = new LinkedHashSet<>();
  private final List<Later> left = new ArrayList<>();
  private final List<Parameter> complete = new ArrayList<>(); // and nobody has heard of it
  private @Nullable Later current; // of the node that runs, where something may be left for later
  private @Nullable Tensor handedOn;

  private Tape(Arena arena, boolean recording) {
    this.arena = arena;
    this.recording = recording;
  }

  /** A tape for training. Results come from {@code arena}. */
  public static Tape recording(Arena arena) {
    return new Tape(arena, true);
  }

  /** A tape that only computes. */
  public static Tape inference(Arena arena) {
    return new Tape(arena, false);
  }

  public boolean isRecording() {
    return recording;
  }

  public Engine engine() {
    return arena.engine();
  }

  public Arena arena() {
    return arena;
  }

  /** A tensor for an operation's result; it becomes the tape's own with {@link #record}. */
  public Tensor allocate(DType dtype, Shape shape) {
    return arena.allocate(dtype, shape);
  }

  /** A value from outside that needs no gradient. The caller keeps owning it. */
  public Variable constant(Tensor value) {
    return new Variable(value, false, false);
  }

  /**
   * A value from outside whose gradient is wanted. The caller keeps owning it; the tape owns the
   * gradient.
   */
  public Variable input(Tensor value) {
    Variable input = new Variable(value, false, recording);
    variables.add(input);
    return input;
  }

  /**
   * Makes {@code result} a variable and keeps what its backward needs.
   *
   * @param inputs the variables that the result was computed from
   * @param parameters the parameters it was computed from; the backward writes all their gradients
   * @param needed the variables whose values the backward reads
   * @param saved tensors for the backward alone; they become the tape's
   */
  public Variable record(
      Tensor result,
      List<Variable> inputs,
      List<Parameter> parameters,
      List<Variable> needed,
      List<Tensor> saved,
      Backward backward) {
    boolean differentiable =
        recording
            && (!parameters.isEmpty() || inputs.stream().anyMatch(Variable::requiresGradient));
    return record(new Variable(result, true, differentiable), parameters, needed, saved, backward);
  }

  /**
   * {@link #record} for a view of another variable's value, which stays as long as any recorded
   * operation needs the view. Whoever releases the base on a tape that records nothing must be done
   * with the view.
   */
  public Variable recordView(Tensor view, Variable base, Backward backward) {
    Variable output = new Variable(view, true, base.requiresGradient(), base);
    return record(output, List.of(), List.of(), List.of(), backward);
  }

  private Variable record(
      Variable output,
      List<Parameter> parameters,
      List<Variable> needed,
      List<Tensor> saved,
      Backward backward) {
    variables.add(output);
    append(output.requiresGradient(), parameters, needed, saved, () -> runFrom(output, backward));
    return output;
  }

  /**
   * Records the end of the forward pass: {@code backward} runs first and starts from nothing but
   * its inputs.
   */
  public Loss recordLoss(
      Tensor losses,
      List<Parameter> parameters,
      List<Variable> needed,
      List<Tensor> saved,
      Runnable backward) {
    variables.add(new Variable(losses, true, false));
    append(recording, parameters, needed, saved, backward);
    return new Loss(losses);
  }

  private void append(
      boolean differentiable,
      List<Parameter> parameters,
      List<Variable> needed,
      List<Tensor> saved,
      Runnable backward) {
    usedParameters.addAll(parameters);
    if (!differentiable) {
      saved.forEach(Tensor::close);
      return;
    }
    for (Parameter parameter : parameters) {
      openUses.computeIfAbsent(parameter, unused -> new int[1])[0]++;
    }
    needed.forEach(Variable::hold);
    nodes.add(new Node(backward, parameters, new ArrayList<>(needed), saved));
  }

  /** Makes a tensor the tape's own, to be freed with it at the latest. */
  public void own(Tensor tensor) {
    variables.add(new Variable(tensor, true, false));
  }

  /** Says that the backward of the operation recorded last reads that operation's own result. */
  public void keepResult(Variable result) {
    if (result.requiresGradient()) {
      result.hold();
      nodes.get(nodes.size() - 1).needed().add(result);
    }
  }

  /**
   * Computes {@code function(tape, input)} without keeping what happens inside, and computes it
   * again in the backward pass (Chen et al., 2016): memory for time. The function must give the
   * same result each time.
   */
  public Variable recompute(Variable input, BiFunction<Tape, Variable, Variable> function) {
    if (!recording) {
      return function.apply(this, input);
    }
    Tensor kept;
    List<Parameter> parameters;
    try (Tape discarded = Tape.inference(arena)) {
      Variable result = function.apply(discarded, discarded.constant(input.value()));
      discarded.variables.remove(result);
      kept = result.value();
      parameters = List.copyOf(discarded.usedParameters);
    }
    return record(
        kept,
        List.of(input),
        parameters,
        List.of(input),
        List.of(),
        dOutput -> {
          try (Tape again = Tape.recording(arena)) {
            Variable innerInput = again.input(input.value());
            Variable innerOutput = function.apply(again, innerInput);
            again.backward(innerOutput, dOutput, parameter -> {});
            Tensor innerGradient = innerInput.gradient();
            contribute(
                input,
                (destination, accumulate) -> {
                  if (accumulate) {
                    engine().addScaled(1, innerGradient, destination);
                  } else {
                    engine().copy(innerGradient, destination);
                  }
                });
          }
        });
  }

  /**
   * Frees a result that no recorded operation needs; nothing happens to one that is needed or came
   * from outside.
   */
  public void release(Variable variable) {
    if (variable.isOwnedByTape() && !variable.isHeld()) {
      variable.value().close();
    }
  }

  /**
   * Adds to a variable's gradient through a kernel that can write or accumulate. Nothing happens
   * for a variable that needs no gradient.
   */
  public void contribute(Variable variable, GradientWriter writer) {
    if (!variable.requiresGradient()) {
      return;
    }
    Tensor gradient = variable.gradientOrNull();
    if (gradient == null) {
      gradient = allocate(variable.value().dtype(), variable.shape());
      variable.setGradient(gradient);
      writer.write(gradient, false);
    } else {
      writer.write(gradient, true);
    }
  }

  /**
   * {@link #contribute} for a kernel that computes other gradients at the same time: it runs in any
   * case, into memory that is dropped where the variable needs no gradient.
   */
  public void contributeAlways(Variable variable, GradientWriter writer) {
    if (variable.requiresGradient()) {
      contribute(variable, writer);
    } else {
      try (Tensor dropped = allocate(variable.value().dtype(), variable.shape())) {
        writer.write(dropped, false);
      }
    }
  }

  /** {@link #contribute} for a kernel that cannot accumulate. */
  public void contributeNew(Variable variable, Consumer<Tensor> writer) {
    contribute(
        variable,
        (destination, accumulate) -> {
          if (accumulate) {
            try (Tensor part = allocate(destination.dtype(), destination.shape())) {
              writer.accept(part);
              engine().addScaled(1, part, destination);
            }
          } else {
            writer.accept(destination);
          }
        });
  }

  /**
   * Hands a whole tensor over as a contribution: the output's gradient where an operation passes it
   * on unchanged. It must be the last thing that the backward does with it.
   */
  public void give(Variable variable, Tensor gradient) {
    if (!variable.requiresGradient()) {
      return;
    }
    Tensor present = variable.gradientOrNull();
    if (present == null && current != null && !current.writers().isEmpty()) {
      Tensor copy =
          allocate(gradient.dtype(), gradient.shape()); // others add to it before it is read
      engine().copy(gradient, copy);
      variable.setGradient(copy);
    } else if (present == null) {
      variable.setGradient(gradient);
      handedOn = gradient;
    } else {
      engine().addScaled(1, gradient, present);
    }
  }

  /** Writes a parameter's gradient, or adds to it where there is one already. */
  public void contribute(Parameter parameter, GradientWriter writer) {
    writer.write(parameter.gradient(), parameter.hasGradient());
    parameter.markGradient();
  }

  /**
   * {@link #contribute} for a gradient that nothing else in the pass waits for: where the pass
   * leaves such gradients for later ({@link #backwardInputs}) the writer runs then. It may read the
   * operation's needed and saved values and the gradient of its result, and nothing else.
   */
  public void contributeLate(Parameter parameter, GradientWriter writer) {
    if (current == null) {
      contribute(parameter, writer);
    } else {
      current.writers().add(() -> contribute(parameter, writer));
    }
  }

  /** Whether {@link #contributeLate} leaves a gradient for later. */
  public boolean leavesForLater() {
    return current != null;
  }

  /** Runs the pass from a loss. {@code listener} hears of each parameter once. */
  public void backward(Loss loss, GradientListener listener) {
    run(listener);
  }

  /** Runs the pass from any result, whose gradient the caller gives and keeps. */
  public void backward(Variable output, Tensor gradient, GradientListener listener) {
    Tensor copy = allocate(gradient.dtype(), gradient.shape());
    engine().copy(gradient, copy);
    output.setGradient(copy);
    run(listener);
  }

  /**
   * {@link #backward} from a result whose gradient the tape takes over.
   *
   * @param gradient null: from the loss, as {@link #backward(Loss, GradientListener)}
   */
  public void backwardFrom(
      @Nullable Variable output, @Nullable Tensor gradient, GradientListener listener) {
    if (output != null) {
      output.setGradient(gradient);
    }
    run(listener);
  }

  /**
   * The part of {@link #backwardFrom} that gives the gradients of inputs (Qi et al., 2024, "Zero
   * Bubble Pipeline Parallelism"). Gradients of parameters that nothing waits for are left for
   * {@link #backwardParameters}, and what they are computed from stays until then.
   */
  public void backwardInputs(@Nullable Variable output, @Nullable Tensor gradient) {
    if (output != null) {
      output.setGradient(gradient);
    }
    for (int i = nodes.size() - 1; i >= 0; i--) {
      Node node = nodes.get(i);
      Later later = new Later(node, new ArrayList<>(), new ArrayList<>());
      current = later;
      node.backward().run();
      current = null;
      if (later.writers().isEmpty()) {
        finish(node, complete::add);
      } else {
        left.add(later);
      }
    }
    nodes.clear();
  }

  /** The rest of {@link #backwardInputs}. {@code listener} hears of each parameter once. */
  public void backwardParameters(GradientListener listener) {
    for (Parameter parameter : complete) {
      requireGradient(parameter); // which whoever owns the memory may have taken meanwhile
      listener.gradientComplete(parameter);
    }
    complete.clear();
    for (Later later : left) {
      later.writers().forEach(Runnable::run);
      later.gradients().forEach(Tensor::close);
      finish(later.node(), listener);
    }
    left.clear();
  }

  private void run(GradientListener listener) {
    for (int i = nodes.size() - 1; i >= 0; i--) {
      Node node = nodes.get(i);
      node.backward().run();
      finish(node, listener);
    }
    nodes.clear();
  }

  private void finish(Node node, GradientListener listener) {
    for (Variable variable : node.needed()) {
      variable.letGo();
    }
    node.saved().forEach(Tensor::close);
    for (Parameter parameter : node.parameters()) {
      endUse(parameter, listener);
    }
  }

  private void runFrom(Variable output, Backward backward) {
    Tensor gradient = output.gradientOrNull();
    if (gradient == null) {
      return; // nothing that the pass started from depends on this result
    }
    output.setGradient(null);
    handedOn = null;
    backward.run(gradient);
    if (handedOn == gradient) {
      return;
    }
    if (current != null && !current.writers().isEmpty()) {
      current.gradients().add(gradient);
    } else {
      gradient.close();
    }
  }

  private void endUse(Parameter parameter, GradientListener listener) {
    int[] open = openUses.get(parameter);
    if (open == null || --open[0] > 0) {
      return;
    }
    openUses.remove(parameter);
    requireGradient(parameter);
    listener.gradientComplete(parameter);
  }

  private void requireGradient(Parameter parameter) {
    if (!parameter.hasGradient()) {
      contribute(parameter, (destination, accumulate) -> engine().fill(destination, 0));
    }
  }

  /** Hands a result over to the caller, who owns it from here on; no operation may need it. */
  public Tensor take(Variable result) {
    if (result.isHeld() || !variables.remove(result)) {
      throw new IllegalStateException("This value stays on the tape: " + result.value());
    }
    return result.value();
  }

  /** Hands an input's gradient over to the caller, who owns it from here on. */
  public Tensor takeGradient(Variable input) {
    Tensor gradient = input.gradient();
    input.setGradient(null);
    return gradient;
  }

  /** Frees everything that the tape owns, gradients of inputs included. */
  @Override
  public void close() {
    for (Later later : left) {
      later.gradients().forEach(Tensor::close);
      later.node().saved().forEach(Tensor::close);
    }
    left.clear();
    for (Node node : nodes) {
      node.saved().forEach(Tensor::close);
    }
    nodes.clear();
    for (Variable variable : variables) {
      Tensor gradient = variable.gradientOrNull();
      if (gradient != null) {
        gradient.close();
      }
      if (variable.isOwnedByTape()) {
        variable.value().close();
      }
    }
    variables.clear();
  }
}
