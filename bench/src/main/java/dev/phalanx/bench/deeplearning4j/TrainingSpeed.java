package dev.phalanx.bench.deeplearning4j;

import com.sun.management.OperatingSystemMXBean;
import dev.phalanx.deeplearning4j.ParallelTraining;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.parallelism.ParallelWrapper;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Samples a second of LeNet with batches of the same size in all: one process alone, our threads,
 * or Deeplearning4j's {@code ParallelWrapper}. Prints one line of JSON.
 *
 * <p>Arguments: WAY (alone, one-thread, threads, wrapper-averaging, wrapper-sharing), BATCH,
 * WORKERS, BATCHES.
 */
public final class TrainingSpeed {
  private static final double LEARNING_RATE = 1e-3;

  /** Enough for the JIT and for workspaces to have their sizes. */
  private static final int WARM_UP_BATCHES = 40;

  private TrainingSpeed() {}

  /** Trains on a number of batches. */
  private interface Way {
    void train(DataSetIterator batches) throws InterruptedException;
  }

  /** See the class. */
  public static void main(String[] arguments) throws Exception {
    String way = arguments[0];
    int batch = Integer.parseInt(arguments[1]);
    int workers = Integer.parseInt(arguments[2]);
    int count = Integer.parseInt(arguments[3]);
    MultiLayerNetwork network = LeNet.network(LEARNING_RATE);
    switch (way) {
      case "alone" -> print(way, batch, 1, count, batch, network::fit);
      case "threads", "one-thread" -> {
        int ranks = way.equals("threads") ? workers : 1;
        try (var training = ParallelTraining.threads(network, ranks)) {
          print(way, batch, ranks, count, batch, batches -> training.fit(batches, 1));
          System.err.printf(
              Locale.ROOT, "rank 0 waited %.0f ms for others in all%n", training.waitedMillis());
        }
      }
      case "wrapper-averaging" -> {
        try (ParallelWrapper wrapper =
            new ParallelWrapper.Builder<>(network)
                .workers(workers)
                .trainingMode(ParallelWrapper.TrainingMode.AVERAGING)
                .averagingFrequency(1)
                .prefetchBuffer(2 * workers)
                .build()) {
          print(way, batch, workers, count, batch / workers, wrapper::fit);
        }
      }
      case "wrapper-sharing" -> {
        try (ParallelWrapper wrapper =
            new ParallelWrapper.Builder<>(network)
                .workers(workers)
                .trainingMode(ParallelWrapper.TrainingMode.SHARED_GRADIENTS)
                .prefetchBuffer(2 * workers)
                .build()) {
          print(way, batch, workers, count, batch / workers, wrapper::fit);
        }
      }
      default -> throw new IllegalArgumentException("There is no way '" + way + "'");
    }
    Runtime.getRuntime().exit(0); // ParallelWrapper leaves threads
  }

  /**
   * @param batch samples of all workers' step
   * @param own samples that an iterator's batch has: ParallelWrapper gives each worker a batch
   */
  private static void print(String way, int batch, int workers, int count, int own, Way training)
      throws InterruptedException {
    int perStep = batch / own;
    training.train(new ExistingDataSetIterator(batches(own, WARM_UP_BATCHES * perStep)));
    List<DataSet> measured = batches(own, count * perStep);
    long begin = System.nanoTime();
    long cpuBegin = cpuNanos();
    training.train(new ExistingDataSetIterator(measured));
    double seconds = (System.nanoTime() - begin) / 1e9;
    double cpuSeconds = (cpuNanos() - cpuBegin) / 1e9;
    double samples = (double) batch * count;
    System.out.printf(
        Locale.ROOT,
        "{\"way\": \"%s\", \"batch\": %d, \"workers\": %d, \"threads\": %d, \"samples_per_s\":"
            + " %.1f, \"samples_per_cpu_s\": %.1f}%n",
        way,
        batch,
        workers,
        Nd4j.getEnvironment().maxThreads(),
        samples / seconds,
        samples / cpuSeconds);
  }

  /** Of all threads of this process: what other work on the machine takes does not change it. */
  private static long cpuNanos() {
    return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getProcessCpuTime();
  }

  /** Made before the clock runs; eight different ones are enough. */
  private static List<DataSet> batches(int size, int count) {
    Random random = new Random(1);
    List<DataSet> different = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      float[] pixels = new float[size * 28 * 28];
      for (int pixel = 0; pixel < pixels.length; pixel++) {
        pixels[pixel] = random.nextFloat();
      }
      INDArray labels = Nd4j.zeros(size, 10);
      for (int sample = 0; sample < size; sample++) {
        labels.putScalar(sample, random.nextInt(10), 1);
      }
      different.add(new DataSet(Nd4j.create(pixels, new int[] {size, 28 * 28}, 'c'), labels));
    }
    List<DataSet> batches = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      batches.add(different.get(i % different.size()));
    }
    return batches;
  }
}
