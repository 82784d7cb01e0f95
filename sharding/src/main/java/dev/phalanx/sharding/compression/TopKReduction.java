package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The largest elements of each rank's gradients, the others kept for later (Lin et al., 2018, "Deep
 * Gradient Compression"; Stich et al., 2018, "Sparsified SGD with Memory").
 *
 * <p>Plain error feedback: v += g; the k elements of v that are largest by magnitude are sent and
 * become zero in v. With momentum m, which is DGC's momentum correction (section 3.2) and its
 * masking (section 3.3): u = m u + g; v += u; what is sent becomes zero in u and v. The momentum is
 * then in the sum already: the optimizer must be SGD without any. Masking forgets momentum the more
 * often an element is sent, so ranks whose gradients differ for good do not weigh alike.
 *
 * <p>In the warm-up the density falls in four equal stages: a quarter, a sixteenth, and so on, each
 * but where that is less than what is asked for (section 3.4, "warm-up training").
 *
 * <p>k is the same for all ranks, and the choice exact: of elements as large as the smallest that
 * is sent, the first ones are. Each rank's message is gathered by all, who add them up in the order
 * of ranks:
 *
 * <pre>
 *   | k places, INT32 | k values, FLOAT32 |
 * </pre>
 *
 * <p>A rank sends (n - 1) 8 k bytes. Where k is more than the elements / n, in the first stages of
 * a warm-up with many ranks, that is more than without compression: then the same choice of
 * elements is summed by an all-reduce of the whole bucket, with zeros between them.
 */
final class TopKReduction extends BucketReduction {
  private static final int WARM_UP_STAGES = 4;

  private final Arena arena;
  private final Compression.TopK settings;
  private final Tensor residual; // [elements]
  private final @Nullable Tensor momentum; // [elements]
  private final HostMemory hostResidual;
  private final @Nullable HostMemory hostMomentum;
  private final LargestMagnitudes largest = new LargestMagnitudes();
  private final float[] block = new float[HostMemory.BLOCK];
  private long sentElements;
  private @Nullable Messages messages; // of the last step that had some, or the first that will

  TopKReduction(
      Arena arena, Communicator communicator, long elementCount, Compression.TopK settings) {
    super(arena, communicator, elementCount);
    Places.requireFewEnough(elementCount);
    this.arena = arena;
    this.settings = settings;
    this.residual = arena.zeros(DType.FLOAT32, elementCount);
    this.momentum = settings.momentum() == 0 ? null : arena.zeros(DType.FLOAT32, elementCount);
    this.hostResidual = new HostMemory(residual);
    this.hostMomentum = momentum == null ? null : new HostMemory(momentum);
    int stage = settings.warmupSteps() > 0 ? 0 : WARM_UP_STAGES;
    while (stage < WARM_UP_STAGES && isWholeSmaller(elementsOfStage(stage))) {
      stage++;
    }
    if (!isWholeSmaller(elementsOfStage(stage))) { // the density never rises: later ones fit too
      this.messages = new Messages(arena, ranks(), elementsOfStage(stage));
    }
  }

  /** Of one size, for a step's exchange. */
  private static final class Messages implements AutoCloseable {
    final long elements;
    final Tensor own; // [2 sent elements]
    final Tensor all; // [ranks * 2 sent elements]
    final HostMemory hostOwn;
    final HostMemory hostAll;

    Messages(Arena arena, int ranks, long sentElements) {
      this.elements = sentElements;
      this.own = arena.allocate(DType.INT32, 2 * sentElements);
      this.all = arena.allocate(DType.INT32, ranks * 2 * sentElements);
      this.hostOwn = new HostMemory(own);
      this.hostAll = new HostMemory(all);
    }

    @Override
    public void close() {
      own.close();
      all.close();
    }
  }

  private long sentElements(long step) {
    return elementsOfStage(
        step <= settings.warmupSteps()
            ? (int) ((step - 1) * WARM_UP_STAGES / settings.warmupSteps())
            : WARM_UP_STAGES);
  }

  /**
   * @param stage of the warm-up, from 0; {@link #WARM_UP_STAGES}: after it
   */
  private long elementsOfStage(int stage) {
    double density = settings.density();
    if (stage < WARM_UP_STAGES) {
      density = Math.max(density, Math.pow(0.25, stage + 1));
    }
    return Math.min(elementCount(), Math.max(1, Math.round(density * elementCount())));
  }

  @Override
  void encode(Tensor gradients, long step) {
    accumulate(gradients);
    synchronize();
    sentElements = sentElements(step);
    largest.find(hostResidual, elementCount(), sentElements);
    if (isWholeSmaller(sentElements)) {
      takeLargest(new HostMemory(gradients), null);
      allReduce(gradients);
    } else {
      Messages exchanged = sized(sentElements);
      takeLargest(null, exchanged.hostOwn);
      allGather(exchanged.own, exchanged.all);
    }
  }

  private void accumulate(Tensor gradients) {
    if (momentum == null) {
      engine().addScaled(1, gradients, residual);
    } else {
      engine().scale(momentum, settings.momentum());
      engine().addScaled(1, gradients, momentum);
      engine().addScaled(1, momentum, residual);
    }
  }

  /** Whether so many elements with their places are more than the bucket. */
  private boolean isWholeSmaller(long elements) {
    return elements * ranks() > elementCount();
  }

  /** The messages, which change with the warm-up's density, and else never. */
  private Messages sized(long elements) {
    Messages sized = messages;
    if (sized == null || sized.elements != elements) {
      if (sized != null) {
        sized.close();
      }
      sized = new Messages(arena, ranks(), elements);
      messages = sized;
    }
    return sized;
  }

  /**
   * Takes the largest elements out of the residual.
   *
   * @param whole gets them in their places, and zeros in the others
   * @param message gets their places and themselves
   */
  private void takeLargest(@Nullable HostMemory whole, @Nullable HostMemory message) {
    int smallestBits = largest.smallestBits();
    long smallestLeft = largest.smallestCount();
    long sent = 0;
    for (long start = 0; start < elementCount(); start += block.length) {
      int length = (int) Math.min(block.length, elementCount() - start);
      hostResidual.read(start, block, length);
      for (int i = 0; i < length; i++) {
        int bits = LargestMagnitudes.magnitudeBits(block[i]);
        if (bits > smallestBits || (bits == smallestBits && smallestLeft-- > 0)) {
          if (message != null) {
            message.putInt(sent, (int) (start + i));
            message.putFloat(sentElements + sent, block[i]);
            sent++;
          }
          hostResidual.putFloat(start + i, 0);
          if (hostMomentum != null) {
            hostMomentum.putFloat(start + i, 0);
          }
        } else {
          block[i] = 0;
        }
      }
      if (whole != null) {
        whole.write(start, block, length);
      }
    }
  }

  @Override
  void decode(Tensor gradients) throws InterruptedException {
    if (isWholeSmaller(sentElements)) {
      await(); // the sum is there
      return;
    }
    Messages exchanged = sized(sentElements);
    engine().fill(gradients, 0);
    synchronize();
    await();
    HostMemory sums = new HostMemory(gradients);
    for (int peer = 0; peer < ranks(); peer++) {
      long places = peer * 2 * sentElements;
      long values = places + sentElements;
      for (long i = 0; i < sentElements; i++) {
        int place = exchanged.hostAll.getInt(places + i);
        sums.putFloat(place, sums.getFloat(place) + exchanged.hostAll.getFloat(values + i));
      }
    }
  }

  @Override
  List<Tensor> residuals() {
    return List.of(residual);
  }

  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("residual", residual);
    if (momentum != null) {
      state.put("momentum", momentum);
    }
    return state;
  }
}
