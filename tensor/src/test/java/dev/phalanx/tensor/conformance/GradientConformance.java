package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Add;
import dev.phalanx.tensor.autograd.CrossEntropy;
import dev.phalanx.tensor.autograd.Dropout;
import dev.phalanx.tensor.autograd.Embedding;
import dev.phalanx.tensor.autograd.Gelu;
import dev.phalanx.tensor.autograd.LayerNorm;
import dev.phalanx.tensor.autograd.Linear;
import dev.phalanx.tensor.autograd.LinearCrossEntropy;
import dev.phalanx.tensor.autograd.Loss;
import dev.phalanx.tensor.autograd.MatMul;
import dev.phalanx.tensor.autograd.Multiply;
import dev.phalanx.tensor.autograd.PackedHeads;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.RmsNorm;
import dev.phalanx.tensor.autograd.RotaryTable;
import dev.phalanx.tensor.autograd.SelfAttention;
import dev.phalanx.tensor.autograd.Silu;
import dev.phalanx.tensor.autograd.SwiGlu;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Every differentiable operation against finite differences, on the engine that a subclass names.
 *
 * <p>An operation's result y is reduced to one number, f = sum of r y with a fixed random r, added
 * up in double precision. For random directions v of each input, the gradient's product with v must
 * equal the slope of f along v, taken from four points: (8 (f(+h) - f(-h)) - (f(+2h) - f(-2h))) /
 * 12 h. With h = 0.02 its own error is of the order h^4 ~ 1e-7 from the formula and 1e-7 |f| / h ~
 * 1e-5 from fp32 values; the tolerance of 1e-3 of the gradient's length leaves room for sums.
 */
public abstract class GradientConformance {
  private static final double STEP = 0.02;
  private static final double TOLERANCE = 1e-3;

  private Engine engine;
  private Arena arena;
  private Random random;

  /** The engine to check. */
  protected abstract EngineProvider provider();

  @BeforeEach
  void open() {
    engine = provider().open(EngineOptions.singleThreaded());
    arena = new Arena(engine, Numbers.deviceOf(engine));
    random = new Random(20240601);
  }

  @AfterEach
  void close() {
    arena.close();
    engine.close();
  }

  // ------------------------------------------------------------------------------------------
  // operations

  @Test
  void add() {
    check(
        List.of(values(3, 5), values(3, 5)),
        List.of(),
        (tape, x) -> Add.apply(tape, x.get(0), x.get(1)));
  }

  @Test
  void addOfAValueToItself() {
    check(List.of(values(3, 5)), List.of(), (tape, x) -> Add.apply(tape, x.get(0), x.get(0)));
  }

  @Test
  void multiply() {
    check(
        List.of(values(4, 3), values(4, 3)),
        List.of(),
        (tape, x) -> Multiply.apply(tape, x.get(0), x.get(1)));
  }

  @Test
  void matMul() {
    check(
        List.of(values(3, 4), values(4, 5)),
        List.of(),
        (tape, x) -> MatMul.apply(tape, x.get(0), x.get(1)));
  }

  @Test
  void gelu() {
    check(List.of(values(5, 7)), List.of(), (tape, x) -> Gelu.apply(tape, x.get(0)));
  }

  @Test
  void silu() {
    check(List.of(values(5, 7)), List.of(), (tape, x) -> Silu.apply(tape, x.get(0)));
  }

  @Test
  void swiGlu() {
    check(List.of(values(5, 6)), List.of(), (tape, x) -> SwiGlu.apply(tape, x.get(0)));
  }

  @Test
  void dropout() {
    check(
        List.of(values(5, 6)),
        List.of(),
        (tape, x) ->
            Dropout.apply(
                tape, x.get(0), 0.4, 7, List.of(new Dropout.Run(2, 100), new Dropout.Run(3, 700))));
  }

  @Test
  void linearWithBiasAndResidual() {
    Parameter weight = parameter("w", 4, 3);
    Parameter bias = parameter("b", 4);
    check(
        List.of(values(5, 3), values(5, 4)),
        List.of(weight, bias),
        (tape, x) -> Linear.apply(tape, x.get(0), weight, bias, x.get(1)));
  }

  @Test
  void linearWithoutBias() {
    Parameter weight = parameter("w", 4, 3);
    check(
        List.of(values(5, 3)),
        List.of(weight),
        (tape, x) -> Linear.apply(tape, x.get(0), weight, null, null));
  }

  @Test
  void layerNorm() {
    Parameter weight = parameter("w", 6);
    Parameter bias = parameter("b", 6);
    check(
        List.of(values(4, 6)),
        List.of(weight, bias),
        (tape, x) -> LayerNorm.apply(tape, x.get(0), weight, bias, 1e-5));
  }

  @Test
  void rmsNorm() {
    Parameter weight = parameter("w", 6);
    check(
        List.of(values(4, 6)),
        List.of(weight),
        (tape, x) -> RmsNorm.apply(tape, x.get(0), weight, 1e-5));
  }

  @Test
  void embeddingWithRepeatedTokensAndPositions() {
    Parameter tokens = parameter("wte", 7, 3);
    Parameter positions = parameter("wpe", 4, 3);
    Tensor ids = ids(5, 2, 5, 5, 0, 6, 2, 1);
    Tensor places = ids(0, 1, 2, 3, 0, 1, 2, 3);
    check(
        List.of(),
        List.of(tokens, positions),
        (tape, x) -> Embedding.apply(tape, tokens, ids, positions, places));
  }

  @ParameterizedTest
  @CsvSource({
    "1,5,2,2,4,false",
    "2,7,4,2,4,false",
    "2,5,4,1,2,true",
    "1,33,2,2,8,true",
    "3,1,3,3,4,false"
  })
  void selfAttention(
      int batch, int length, int heads, int keyValueHeads, int size, boolean rotates) {
    RotaryTable rotary = rotates ? rotary(length, size / 2) : null;
    SelfAttention attention =
        new SelfAttention(new PackedHeads(batch, length, heads, keyValueHeads, rotary));
    int width = (heads + 2 * keyValueHeads) * size;
    check(
        List.of(values(batch * length, width)),
        List.of(),
        (tape, x) -> attention.apply(tape, Add.apply(tape, x.get(0), zeros(tape, x.get(0)))));
  }

  @Test
  void crossEntropyWithRowsThatDoNotCount() {
    Tensor targets = ids(3, -100, 0, 4, 2);
    checkLoss(
        List.of(values(5, 6)),
        List.of(),
        0.25,
        (tape, x) ->
            CrossEntropy.apply(
                tape, Add.apply(tape, x.get(0), zeros(tape, x.get(0))), targets, 0.25));
  }

  @Test
  void linearCrossEntropyInSeveralChunks() {
    int rows = 300;
    Parameter weight = parameter("w", 40000, 3);
    Tensor targets = ids(random.longs(rows, 0, 40000).toArray());
    checkLoss(
        List.of(values(rows, 3)),
        List.of(weight),
        0.125,
        (tape, x) -> LinearCrossEntropy.apply(tape, x.get(0), weight, targets, 0.125));
  }

  @Test
  void recomputedLayers() {
    Parameter weight = parameter("w", 4, 4);
    Parameter bias = parameter("b", 4);
    check(
        List.of(values(5, 4)),
        List.of(weight, bias),
        (tape, x) ->
            tape.recompute(
                x.get(0),
                (inner, value) ->
                    Linear.apply(inner, Gelu.apply(inner, value), weight, bias, value)));
  }

  @Test
  void aParameterUsedTwiceSumsAndIsCompleteOnce() {
    Parameter weight = parameter("w", 4, 4);
    check(
        List.of(values(3, 4)),
        List.of(weight),
        (tape, x) ->
            Linear.apply(
                tape, Linear.apply(tape, x.get(0), weight, null, null), weight, null, x.get(0)));
  }

  // ------------------------------------------------------------------------------------------
  // rules of the tape

  /** Five terms of at most 1 are added to what is there: five sums below 8, rounded each. */
  private static final double ROUNDED_SUMS = 5 * 0x1p-22;

  @Test
  void gradientsAccumulateUntilTheyAreCleared() {
    Parameter weight = parameter("w", 4, 3);
    Tensor x = upload(values(5, 3));
    double[] once = gradientOfOnePass(weight, x);
    double[] twice = gradientOfOnePass(weight, x);
    weight.clearGradient();
    double[] again = gradientOfOnePass(weight, x);
    for (int i = 0; i < once.length; i++) {
      assertThat(twice[i]).isCloseTo(2 * once[i], within(ROUNDED_SUMS));
      assertThat(again[i]).isEqualTo(once[i]);
    }
  }

  private double[] gradientOfOnePass(Parameter weight, Tensor x) {
    try (Tape tape = Tape.recording(arena);
        Tensor seed = arena.allocate(DType.FLOAT32, 5, 4)) {
      engine.fill(seed, 1);
      Variable y = Linear.apply(tape, tape.constant(x), weight, null, null);
      tape.backward(y, seed, parameter -> {});
    }
    return download(weight.gradient());
  }

  /** First the gradients of inputs, later those of parameters: the same numbers. */
  @Test
  void aBackwardPassInTwoHalvesGivesTheSame() {
    Parameter weight = parameter("w", 4, 4);
    Parameter bias = parameter("b", 4);
    Parameter gain = parameter("g", 4);
    Parameter shift = parameter("s", 4);
    List<Parameter> parameters = List.of(weight, bias, gain, shift);
    Tensor x = upload(values(3, 4));
    Tensor seed = upload(values(3, 4));
    List<double[]> whole = new ArrayList<>();
    List<double[]> halves = new ArrayList<>();
    for (boolean isDivided : new boolean[] {false, true}) {
      parameters.forEach(Parameter::clearGradient);
      List<Parameter> heard = new ArrayList<>();
      try (Tape tape = Tape.recording(arena)) {
        Variable input = tape.input(x);
        Variable normed = LayerNorm.apply(tape, input, gain, shift, 1e-5);
        Variable once = Linear.apply(tape, normed, weight, bias, input);
        Variable twice = Linear.apply(tape, Gelu.apply(tape, once), weight, bias, once);
        if (isDivided) {
          Tensor gradient = arena.allocate(DType.FLOAT32, seed.shape());
          engine.copy(seed, gradient);
          tape.backwardInputs(twice, gradient);
          Tensor ofInput = tape.takeGradient(input);
          halves.add(download(ofInput));
          engine.fill(ofInput, Double.NaN); // whoever has it may write into it
          ofInput.close();
          assertThat(heard).isEmpty();
          tape.backwardParameters(heard::add);
        } else {
          tape.backward(twice, seed, heard::add);
          whole.add(download(input.gradient()));
        }
      }
      assertThat(heard).containsExactlyInAnyOrderElementsOf(parameters);
      (isDivided ? halves : whole)
          .addAll(parameters.stream().map(each -> download(each.gradient())).toList());
    }
    assertThat(halves).hasSameSizeAs(whole);
    for (int i = 0; i < whole.size(); i++) {
      assertThat(halves.get(i)).isEqualTo(whole.get(i));
    }
  }

  @Test
  void aParameterThatTheLossDoesNotDependOnGetsAZeroGradientAndIsHeardOf() {
    Parameter used = parameter("used", 4, 3);
    Parameter unused = parameter("unused", 4, 3);
    engine.fill(unused.gradient(), Double.NaN);
    List<Parameter> complete = new ArrayList<>();
    Tensor x = upload(values(5, 3));
    try (Tape tape = Tape.recording(arena);
        Tensor seed = arena.zeros(DType.FLOAT32, 5, 4)) {
      Variable dead = Linear.apply(tape, tape.constant(x), unused, null, null);
      Variable y = Linear.apply(tape, tape.constant(x), used, null, null);
      assertThat(dead.requiresGradient()).isTrue();
      tape.backward(y, seed, complete::add);
    }
    assertThat(complete).containsExactlyInAnyOrder(used, unused);
    assertThat(download(unused.gradient())).containsOnly(0.0);
  }

  @Test
  void aTapeGivesAllItsMemoryBack() {
    Parameter weight = parameter("w", 4, 4);
    Tensor x = upload(values(5, 4));
    long before = arena.bytesInUse();
    for (boolean runsBackward : new boolean[] {true, false}) {
      try (Tape tape = Tape.recording(arena);
          Tensor seed = arena.zeros(DType.FLOAT32, 5, 4)) {
        Variable input = tape.input(x);
        Variable y =
            Gelu.apply(tape, Linear.apply(tape, Gelu.apply(tape, input), weight, null, input));
        if (runsBackward) {
          tape.backward(y, seed, parameter -> {});
        }
      }
      assertThat(arena.bytesInUse()).isEqualTo(before);
    }
  }

  // ------------------------------------------------------------------------------------------
  // finite differences

  private record Values(Shape shape, float[] elements) {}

  @FunctionalInterface
  private interface Operation {
    Variable apply(Tape tape, List<Variable> inputs);
  }

  @FunctionalInterface
  private interface LossOperation {
    Loss apply(Tape tape, List<Variable> inputs);
  }

  private void check(List<Values> inputs, List<Parameter> parameters, Operation operation) {
    List<Tensor> tensors = inputs.stream().map(this::upload).toList();
    float[] weights = outputWeights(tensors, operation);
    List<double[]> gradients = new ArrayList<>();
    int[] heard = new int[1];
    try (Tape tape = Tape.recording(arena)) {
      List<Variable> variables = tensors.stream().map(tape::input).toList();
      Variable y = operation.apply(tape, variables);
      Tensor seed = upload(new Values(y.shape(), weights));
      tape.backward(y, seed, parameter -> heard[0]++);
      variables.forEach(variable -> gradients.add(download(variable.gradient())));
    }
    parameters.forEach(parameter -> gradients.add(download(parameter.gradient())));
    assertThat(heard[0]).isEqualTo(parameters.size());
    compare(tensors, parameters, gradients, () -> weighted(tensors, operation, weights));
  }

  private void checkLoss(
      List<Values> inputs, List<Parameter> parameters, double scale, LossOperation operation) {
    List<Tensor> tensors = inputs.stream().map(this::upload).toList();
    List<double[]> gradients = new ArrayList<>();
    int[] heard = new int[1];
    try (Tape tape = Tape.recording(arena)) {
      List<Variable> variables = tensors.stream().map(tape::input).toList();
      Loss loss = operation.apply(tape, variables);
      tape.backward(loss, parameter -> heard[0]++);
      variables.forEach(variable -> gradients.add(download(variable.gradient())));
    }
    parameters.forEach(parameter -> gradients.add(download(parameter.gradient())));
    assertThat(heard[0]).isEqualTo(parameters.size());
    compare(
        tensors,
        parameters,
        gradients,
        () -> {
          try (Tape tape = Tape.inference(arena)) {
            double sum = 0;
            for (double loss :
                download(
                    operation
                        .apply(tape, tensors.stream().map(tape::constant).toList())
                        .losses())) {
              sum += loss;
            }
            return scale * sum;
          }
        });
  }

  private float[] outputWeights(List<Tensor> tensors, Operation operation) {
    try (Tape tape = Tape.inference(arena)) {
      Variable y = operation.apply(tape, tensors.stream().map(tape::constant).toList());
      return values(y.shape().toArray()).elements();
    }
  }

  private double weighted(List<Tensor> tensors, Operation operation, float[] weights) {
    try (Tape tape = Tape.inference(arena)) {
      Variable y = operation.apply(tape, tensors.stream().map(tape::constant).toList());
      double[] elements = download(y.value());
      double sum = 0;
      for (int i = 0; i < weights.length; i++) {
        sum += weights[i] * elements[i];
      }
      return sum;
    }
  }

  private void compare(
      List<Tensor> inputs,
      List<Parameter> parameters,
      List<double[]> gradients,
      DoubleSupplier function) {
    List<Tensor> all = new ArrayList<>(inputs);
    parameters.forEach(parameter -> all.add(parameter.value()));
    for (int i = 0; i < all.size(); i++) {
      double[] gradient = gradients.get(i);
      double length = Math.sqrt(Arrays.stream(gradient).map(g -> g * g).sum());
      for (int direction = 0; direction < 3; direction++) {
        float[] v = unitVector(gradient.length);
        double expected = slope(all.get(i), v, function);
        double actual = 0;
        for (int e = 0; e < v.length; e++) {
          actual += gradient[e] * v[e];
        }
        assertThat(actual)
            .as("gradient of input %d along direction %d", i, direction)
            .isCloseTo(expected, within(TOLERANCE * (length + 0.1)));
      }
    }
  }

  private double slope(Tensor tensor, float[] v, DoubleSupplier function) {
    double[] f = new double[4];
    double[] steps = {-2 * STEP, -STEP, STEP, 2 * STEP};
    double[] original = download(tensor);
    for (int i = 0; i < 4; i++) {
      write(tensor, original, v, steps[i]);
      f[i] = function.getAsDouble();
    }
    write(tensor, original, v, 0);
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * STEP);
  }

  private void write(Tensor tensor, double[] original, float[] v, double step) {
    double[] moved = original.clone();
    for (int i = 0; i < v.length; i++) {
      moved[i] += step * v[i];
    }
    Numbers.write(engine, tensor, moved);
  }

  private float[] unitVector(int length) {
    double[] v = new double[length];
    double sum = 0;
    for (int i = 0; i < length; i++) {
      v[i] = random.nextGaussian();
      sum += v[i] * v[i];
    }
    float[] unit = new float[length];
    for (int i = 0; i < length; i++) {
      unit[i] = (float) (v[i] / Math.sqrt(sum));
    }
    return unit;
  }

  // ------------------------------------------------------------------------------------------
  // values

  private Values values(long... sizes) {
    Shape shape = Shape.of(sizes);
    float[] elements = new float[Math.toIntExact(shape.elementCount())];
    for (int i = 0; i < elements.length; i++) {
      elements[i] = (float) random.nextGaussian();
    }
    return new Values(shape, elements);
  }

  private Parameter parameter(String name, long... sizes) {
    Parameter parameter = new Parameter(name, Shape.of(sizes), (seed, element) -> 0);
    parameter.bind(upload(values(sizes)), arena.allocate(DType.FLOAT32, sizes));
    return parameter;
  }

  private Tensor upload(Values values) {
    Tensor tensor = arena.allocate(DType.FLOAT32, values.shape());
    double[] elements = new double[values.elements().length];
    Arrays.setAll(elements, i -> values.elements()[i]);
    Numbers.write(engine, tensor, elements);
    return tensor;
  }

  private Tensor ids(long... ids) {
    Tensor tensor = arena.allocate(DType.INT64, ids.length);
    Numbers.write(engine, tensor, Arrays.stream(ids).asDoubleStream().toArray());
    return tensor;
  }

  private Variable zeros(Tape tape, Variable like) {
    Tensor zeros = arena.allocate(DType.FLOAT32, like.shape());
    engine.fill(zeros, 0);
    tape.own(zeros);
    return tape.constant(zeros);
  }

  private RotaryTable rotary(int length, int half) {
    float[] cosine = new float[length * half];
    float[] sine = new float[length * half];
    for (int t = 0; t < length; t++) {
      for (int i = 0; i < half; i++) {
        double angle = t * Math.pow(100, -(double) i / half);
        cosine[t * half + i] = (float) Math.cos(angle);
        sine[t * half + i] = (float) Math.sin(angle);
      }
    }
    Shape shape = Shape.of(length, half);
    return new RotaryTable(upload(new Values(shape, cosine)), upload(new Values(shape, sine)));
  }

  private double[] download(Tensor tensor) {
    return Numbers.read(engine, tensor);
  }
}
