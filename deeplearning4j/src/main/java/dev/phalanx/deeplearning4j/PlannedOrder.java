package dev.phalanx.deeplearning4j;

import java.nio.ByteBuffer;
import java.util.stream.IntStream;
import java.util.zip.CRC32C;
import org.nd4j.linalg.dataset.DataSet;

/**
 * What a plan's steps mean: a place in the order of samples is one only in the same data. Ranks
 * compare theirs, and checkpoints of a plan's network hold it as text.
 *
 * @param data a CRC32C of all training samples as the network gets them
 * @param batch samples of a step
 * @param seed of the order
 * @param firstIteration of the network, which may have been trained before
 */
record PlannedOrder(int samples, long data, int batch, long seed, long firstIteration) {
  static final String FILE = "order.txt";

  private static final int READ_AT_ONCE = 1024;

  static PlannedOrder of(Samples training, int batch, long seed, long firstIteration) {
    CRC32C checksum = new CRC32C();
    for (int first = 0; first < training.count(); first += READ_AT_ONCE) {
      int end = Math.min(training.count(), first + READ_AT_ONCE);
      try (Batch some = new Batch(training.read(IntStream.range(first, end).toArray()))) {
        add(checksum, some.samples());
      }
    }
    return new PlannedOrder(training.count(), checksum.getValue(), batch, seed, firstIteration);
  }

  private static void add(CRC32C checksum, DataSet samples) {
    for (float[] numbers :
        new float[][] {
          samples.getFeatures().data().asFloat(), samples.getLabels().data().asFloat()
        }) {
      ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Float.BYTES);
      bytes.asFloatBuffer().put(numbers);
      checksum.update(bytes);
    }
  }

  /** As messages say it. */
  @Override
  public String toString() {
    return String.format(
        "%d training samples with the checksum %08x, %d a step, in the order of seed %d, from"
            + " iteration %d of the network on",
        samples, data, batch, seed, firstIteration);
  }
}
