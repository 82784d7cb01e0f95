package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** When what is sent, and what is held meanwhile: one of two ranks, of which nobody answers. */
final class ModelMemoryTest {
  private static final int RANKS = 2;

  /** A layer is one parameter, of a size that no other has; large enough to be gathered alone. */
  private static final long LEAST = 16_384;

  private static final long STEP = 128;

  /** A model of some layers in memory, and what happens to it in order. */
  private static final class Walk implements AutoCloseable {
    final List<String> events = new ArrayList<>();
    final Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
    final Arena arena = new Arena(engine, Device.CPU);
    final List<Parameter> layers;
    final ModelMemory memory;

    Walk(int stage, int layerCount) throws InterruptedException {
      this.layers =
          IntStream.range(0, layerCount)
              .mapToObj(
                  layer -> new Parameter("p" + layer, Shape.of(size(layer)), (seed, element) -> 0))
              .toList();
      RecordingCommunicator ranks = RecordingCommunicator.alone(RANKS, events::add);
      this.memory =
          new ModelMemory(
              new ModelMemory.Setup(
                  stage,
                  stage == 0 ? DataGroups.replicated(ranks) : DataGroups.sharded(ranks),
                  arena,
                  arena,
                  arena,
                  DType.FLOAT32,
                  Float.BYTES, // a parameter fills a bucket
                  true,
                  true,
                  Map.of(),
                  Optional.empty(),
                  Optional.empty()),
              List.of(layers.stream().map(List::of).toList()));
    }

    void forward() {
      for (int layer = 0; layer < layers.size(); layer++) {
        layers.get(layer).value();
        events.add("use " + layer);
      }
    }

    void backward(boolean isLast) {
      GradientListener listener = memory.beginBackward(0, isLast);
      for (int layer = layers.size() - 1; layer >= 0; layer--) {
        layers.get(layer).value();
        layers.get(layer).gradient();
        events.add("gradient " + layer);
        listener.gradientComplete(layers.get(layer));
      }
    }

    void microBatch(boolean isLast) {
      memory.beginPass();
      forward();
      backward(isLast);
      memory.endPass();
    }

    /** What has happened since the last time. */
    List<String> takeEvents() {
      List<String> taken = List.copyOf(events);
      events.clear();
      return taken;
    }

    @Override
    public void close() {
      arena.close();
      engine.close();
    }
  }

  private static long size(int layer) {
    return LEAST + STEP * layer;
  }

  /** The last layer's gradients are there first, and go first. */
  @ParameterizedTest(name = "stage {0}")
  @CsvSource({"0, all-reduce", "1, reduce-scatter", "2, reduce-scatter", "3, reduce-scatter"})
  void bucketsAreReducedInReverseOrderOfUseAsSoonAsTheyAreComplete(int stage, String operation)
      throws InterruptedException {
    try (Walk walk = new Walk(stage, 3)) {
      walk.memory.beginStep(1);
      walk.microBatch(true);

      assertThat(walk.takeEvents())
          .filteredOn(event -> event.startsWith("gradient") || event.startsWith(operation))
          .containsExactly(
              "gradient 2",
              operation + " " + size(2),
              "gradient 1",
              operation + " " + size(1),
              "gradient 0",
              operation + " " + size(0));
    }
  }

  @ParameterizedTest(name = "stage {0}")
  @CsvSource({"1", "2"})
  void updatedValuesAreGatheredWhileTheNextForwardPassGoesOn(int stage)
      throws InterruptedException {
    try (Walk walk = new Walk(stage, 3)) {
      walk.memory.refreshValues();
      walk.memory.beginPass();
      walk.forward();

      assertThat(walk.takeEvents())
          .containsExactly(
              "all-gather " + size(0),
              "all-gather " + size(1),
              "all-gather " + size(2),
              "awaited all-gather " + size(0),
              "use 0",
              "awaited all-gather " + size(1),
              "use 1",
              "awaited all-gather " + size(2),
              "use 2");
    }
  }

  /** From the second pass on, for the first one shows which layer is next. */
  @Test
  void stageThreeGathersTheNextLayerBeforeTheCurrentOneIsUsed() throws InterruptedException {
    try (Walk walk = new Walk(3, 4)) {
      walk.memory.beginStep(1);
      walk.microBatch(false);
      walk.takeEvents();
      walk.memory.beginPass();
      walk.forward();

      assertThat(walk.takeEvents())
          .containsExactly(
              "all-gather " + size(0),
              "all-gather " + size(1),
              "awaited all-gather " + size(0),
              "use 0",
              "all-gather " + size(2),
              "awaited all-gather " + size(1),
              "use 1",
              "all-gather " + size(3),
              "awaited all-gather " + size(2),
              "use 2",
              "awaited all-gather " + size(3),
              "use 3");
    }
  }

  /**
   * Two buckets are under way at most while a third one is written, each with memory for the sum
   * that is then added to this rank's part.
   */
  @Test
  void stageTwoHoldsWholeGradientsOfThreeBucketsAtMost() throws InterruptedException {
    int layers = 8;
    try (Walk walk = new Walk(2, layers)) {
      long held = walk.arena.bytesInUse(); // values, and this rank's parts of gradients
      assertThat(held)
          .isEqualTo(walk.memory.parameterBytes() + walk.memory.gradientBytes())
          .isEqualTo(3 * walk.memory.gradientBytes());
      long largest = Float.BYTES * size(layers - 1);
      walk.memory.beginStep(1);
      List<Long> inUse = new ArrayList<>();
      for (int microBatch = 0; microBatch < 5; microBatch++) {
        walk.microBatch(microBatch == 4);
        inUse.add(walk.arena.bytesInUse());
      }

      // The first micro-batch's sums are the parts themselves.
      assertThat(inUse.subList(1, 5)).containsOnly(inUse.get(1));
      assertThat(walk.arena.peakBytesInUse()).isLessThanOrEqualTo(held + 3 * largest * 3 / 2);
      walk.memory.finishGradients();
      assertThat(walk.arena.bytesInUse()).isEqualTo(held);
    }
  }
}
