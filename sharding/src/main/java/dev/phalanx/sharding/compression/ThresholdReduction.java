package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The elements beyond a threshold t, as t or -t (Strom, 2015, "Scalable Distributed DNN Training
 * Using Commodity GPU Cloud Computing"; the codec of Deeplearning4j's gradient sharing).
 *
 * <p>v += g; where v is beyond t or -t, that is sent and taken from v; the rest stays for later. An
 * element moves by t a step at most, whatever its gradient: t must be above what gradients are for
 * long, or v runs away from what is applied. It is fixed, or each rank adapts its own to the part
 * of this bucket's elements that it has sent; see {@link AdaptiveThreshold}.
 *
 * <p>A message is a list of the elements that are sent, in words of 32 bits: the place, shifted by
 * one, and a lowest bit of 1 for -t. Where that would take more than two bits for each element of
 * the bucket, it is a map of two bits an element instead (0 nothing, 1 t, 2 -t, sixteen in a word,
 * the first in the lowest bits), as Deeplearning4j's is. So ranks gather first how many elements
 * each of them sends and by which threshold, and then, in {@link #proceed}, messages of different
 * lengths:
 *
 * <pre>
 *   | k, INT32 | t, FLOAT32 |
 *   | k or N / 16 words, INT32 |
 * </pre>
 *
 * <p>With k elements of each rank beyond the threshold, of N in all, a rank sends (n - 1) 4 (2 +
 * min(k, N / 16)) bytes. Memory for what is received grows with the most that has come so far.
 */
final class ThresholdReduction extends BucketReduction {
  private static final int ELEMENTS_OF_WORD = 16;
  private static final int POSITIVE = 1;
  private static final int NEGATIVE = 2;
  private static final int COUNT = 0;
  private static final int THRESHOLD = 1;
  private static final int HEADER = 2;

  private final Arena arena;
  private final float firstThreshold;
  private final @Nullable AdaptiveThreshold adaptive; // null: the threshold is fixed

  /** What each pair of bits of a map of one rank stands for; the last one is not used. */
  private final float[] levels = new float[4];

  private final long mapWords;
  private final Tensor residual; // [elements]
  private final Tensor threshold; // [1], the next step's
  private final Tensor ownHeader; // [HEADER]
  private final Tensor headers; // [ranks * HEADER]
  private final Tensor ownWords; // [mapWords]
  private Tensor allWords; // at least what has come so far
  private final HostMemory hostResidual;
  private final HostMemory hostThreshold;
  private final HostMemory hostOwnHeader;
  private final HostMemory hostHeaders;
  private final HostMemory hostOwnWords;
  private HostMemory hostAllWords;
  private final long[] wordCounts;
  private List<Tensor> underWay = List.of(); // views that are sent from and received into
  private final float[] block = new float[HostMemory.BLOCK]; // a multiple of ELEMENTS_OF_WORD

  ThresholdReduction(
      Arena arena, Communicator communicator, long elementCount, Compression.Threshold settings) {
    super(arena, communicator, elementCount);
    Places.requireFewEnough(elementCount);
    this.arena = arena;
    this.firstThreshold = (float) settings.threshold();
    this.adaptive =
        settings.isAdaptive()
            ? new AdaptiveThreshold(settings.minimumDensity(), settings.maximumDensity())
            : null;
    this.mapWords = (elementCount + ELEMENTS_OF_WORD - 1) / ELEMENTS_OF_WORD;
    this.residual = arena.zeros(DType.FLOAT32, elementCount);
    this.threshold = arena.allocate(DType.FLOAT32, 1);
    this.ownHeader = arena.allocate(DType.INT32, HEADER);
    this.headers = arena.allocate(DType.INT32, (long) ranks() * HEADER);
    this.ownWords = arena.allocate(DType.INT32, mapWords);
    this.allWords = arena.allocate(DType.INT32, 1);
    this.hostResidual = new HostMemory(residual);
    this.hostThreshold = new HostMemory(threshold);
    this.hostOwnHeader = new HostMemory(ownHeader);
    this.hostHeaders = new HostMemory(headers);
    this.hostOwnWords = new HostMemory(ownWords);
    this.hostAllWords = new HostMemory(allWords);
    this.wordCounts = new long[ranks()];
    hostThreshold.putFloat(0, firstThreshold);
  }

  @Override
  void encode(Tensor gradients, long step) {
    engine().addScaled(1, gradients, residual);
    synchronize();
    float own = ownThreshold();
    long count = countBeyond(own);
    hostOwnHeader.putInt(COUNT, (int) count);
    hostOwnHeader.putFloat(THRESHOLD, own);
    allGather(ownHeader, headers);
    setLevels(own);
    if (isMap(count)) {
      writeMap(own);
    } else {
      writeList(own);
    }
    if (adaptive != null) {
      hostThreshold.putFloat(0, adaptive.next(own, (double) count / elementCount()));
    }
  }

  /** The first one where a checkpoint has brought what is none. */
  private float ownThreshold() {
    float own = hostThreshold.getFloat(0);
    return own > 0 && own < Float.POSITIVE_INFINITY ? own : firstThreshold;
  }

  private void setLevels(float ofRank) {
    levels[POSITIVE] = ofRank;
    levels[NEGATIVE] = -ofRank;
  }

  private boolean isMap(long count) {
    return count > mapWords;
  }

  private long countBeyond(float own) {
    long count = 0;
    for (long start = 0; start < elementCount(); start += block.length) {
      int length = readBlock(start);
      for (int i = 0; i < length; i++) {
        count += Math.abs(block[i]) > own ? 1 : 0;
      }
    }
    return count;
  }

  private int readBlock(long start) {
    int length = (int) Math.min(block.length, elementCount() - start);
    hostResidual.read(start, block, length);
    return length;
  }

  private void writeList(float own) {
    long word = 0;
    for (long start = 0; start < elementCount(); start += block.length) {
      int length = readBlock(start);
      for (int i = 0; i < length; i++) {
        float value = block[i];
        if (Math.abs(value) > own) {
          int sign = value < 0 ? 1 : 0;
          hostOwnWords.putInt(word++, (int) (start + i) << 1 | sign);
          hostResidual.putFloat(start + i, value - levels[POSITIVE + sign]);
        }
      }
    }
  }

  private void writeMap(float own) {
    for (long start = 0; start < elementCount(); start += block.length) {
      int length = readBlock(start);
      for (int from = 0; from < length; from += ELEMENTS_OF_WORD) {
        int word = 0;
        for (int i = from; i < Math.min(from + ELEMENTS_OF_WORD, length); i++) {
          int level = block[i] > own ? POSITIVE : block[i] < -own ? NEGATIVE : 0;
          word |= level << 2 * (i - from);
          block[i] -= levels[level];
        }
        hostOwnWords.putInt((start + from) / ELEMENTS_OF_WORD, word);
      }
      hostResidual.write(start, block, length);
    }
  }

  /** How many elements a rank sends in this step. */
  private long count(int peer) {
    return hostHeaders.getInt((long) peer * HEADER + COUNT);
  }

  @Override
  void handOverSecond() throws InterruptedException {
    await();
    long total = 0;
    for (int peer = 0; peer < ranks(); peer++) {
      wordCounts[peer] = Math.min(count(peer), mapWords);
      total += wordCounts[peer];
    }
    if (total == 0) {
      return;
    }
    makeRoom(total);
    Tensor own = ownWords.slice(0, 0, wordCounts[rank()]);
    Tensor all = allWords.slice(0, 0, total);
    underWay = List.of(own, all);
    allGather(own, all, wordCounts);
  }

  @Override
  void decode(Tensor gradients) throws InterruptedException {
    engine().fill(gradients, 0);
    synchronize();
    await();
    underWay.forEach(Tensor::close);
    underWay = List.of();
    HostMemory sums = new HostMemory(gradients);
    long first = 0;
    for (int peer = 0; peer < ranks(); peer++) {
      setLevels(hostHeaders.getFloat((long) peer * HEADER + THRESHOLD));
      if (isMap(count(peer))) {
        addMap(first, sums);
      } else {
        addList(first, wordCounts[peer], sums);
      }
      first += wordCounts[peer];
    }
  }

  /** By doubling, so that it comes to an end. */
  private void makeRoom(long words) {
    if (words > allWords.elementCount()) {
      long doubled = Math.max(words, 2 * allWords.elementCount());
      allWords.close();
      allWords = arena.allocate(DType.INT32, Shape.of(Math.min(doubled, ranks() * mapWords)));
      hostAllWords = new HostMemory(allWords);
    }
  }

  private void addList(long first, long words, HostMemory sums) {
    for (long i = first; i < first + words; i++) {
      int word = hostAllWords.getInt(i);
      int place = word >>> 1;
      sums.putFloat(place, sums.getFloat(place) + levels[POSITIVE + (word & 1)]);
    }
  }

  private void addMap(long first, HostMemory sums) {
    for (long start = 0; start < elementCount(); start += block.length) {
      int length = (int) Math.min(block.length, elementCount() - start);
      sums.read(start, block, length);
      for (int from = 0; from < length; from += ELEMENTS_OF_WORD) {
        int word = hostAllWords.getInt(first + (start + from) / ELEMENTS_OF_WORD);
        for (int i = from; i < Math.min(from + ELEMENTS_OF_WORD, length); i++) {
          block[i] += levels[word >>> 2 * (i - from) & 3];
        }
      }
      sums.write(start, block, length);
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
    if (adaptive != null) {
      state.put("threshold", threshold);
    }
    return state;
  }
}
