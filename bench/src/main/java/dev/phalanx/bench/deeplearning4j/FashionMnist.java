package dev.phalanx.bench.deeplearning4j;

import dev.phalanx.deeplearning4j.IdxImages;
import dev.phalanx.deeplearning4j.ParallelTraining;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.nd4j.evaluation.classification.Evaluation;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;

/**
 * LeNet learns Fashion-MNIST with several threads. Prints one line of JSON an epoch and draws the
 * curve and the last confusion matrix.
 *
 * <p>Arguments: DATA (the folder of the four idx files), WORKERS, EPOCHS, SVG (the drawing's file).
 */
public final class FashionMnist {
  private static final int BATCH = 64;
  private static final double LEARNING_RATE = 1e-3;
  private static final long ORDER_SEED = 1;

  static final List<String> CLASSES =
      List.of(
          "T-shirt",
          "Trouser",
          "Pullover",
          "Dress",
          "Coat",
          "Sandal",
          "Shirt",
          "Sneaker",
          "Bag",
          "Boot");

  /**
   * What is known after an epoch.
   *
   * @param loss of the epoch's last batch
   */
  record Epoch(double loss, double trainingAccuracy, double testAccuracy) {}

  private FashionMnist() {}

  /** See the class. */
  public static void main(String[] arguments) throws Exception {
    Path data = Path.of(arguments[0]);
    int workers = Integer.parseInt(arguments[1]);
    int epochs = Integer.parseInt(arguments[2]);
    Path drawing = Path.of(arguments[3]);
    IdxImages training = IdxImages.openFolder(data, IdxImages.Part.TRAIN);
    IdxImages test = IdxImages.openFolder(data, IdxImages.Part.TEST);
    MultiLayerNetwork network = LeNet.network(LEARNING_RATE);
    DataSetIterator batches = training.shuffledBatches(BATCH, ORDER_SEED, network::getEpochCount);
    List<Epoch> curve = new ArrayList<>();
    Evaluation last = new Evaluation();
    try (var parallel = ParallelTraining.threads(network, workers)) {
      for (int epoch = 1; epoch <= epochs; epoch++) {
        long begin = System.nanoTime();
        parallel.fit(batches, 1);
        double seconds = (System.nanoTime() - begin) / 1e9;
        last = network.evaluate(test.batches(BATCH));
        double trainingAccuracy = accuracyOfSome(network, training);
        curve.add(new Epoch(network.score(), trainingAccuracy, last.accuracy()));
        System.out.printf(
            Locale.ROOT,
            "{\"epoch\": %d, \"workers\": %d, \"loss\": %.4f, \"training_accuracy\": %.4f,"
                + " \"test_accuracy\": %.4f, \"samples_per_s\": %.0f}%n",
            epoch,
            workers,
            network.score(),
            trainingAccuracy,
            last.accuracy(),
            training.count() / seconds);
        Files.writeString(drawing, LearningDrawing.svg(curve, last.getConfusion(), CLASSES));
      }
    }
    System.err.println(last.stats());
    Runtime.getRuntime().exit(0);
  }

  /** Of as many training images as there are test images. */
  private static double accuracyOfSome(MultiLayerNetwork network, IdxImages images) {
    Evaluation evaluation = new Evaluation();
    DataSetIterator batches = images.batches(BATCH);
    for (int seen = 0; seen < 10_000 && batches.hasNext(); seen += BATCH) {
      var batch = batches.next();
      evaluation.eval(batch.getLabels(), network.output(batch.getFeatures()));
    }
    return evaluation.accuracy();
  }
}
