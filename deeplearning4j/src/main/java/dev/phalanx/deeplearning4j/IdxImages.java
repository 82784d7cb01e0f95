package dev.phalanx.deeplearning4j;

import dev.phalanx.tensor.CounterRandom;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Images with a class each, in a pair of idx files as MNIST's (LeCun et al., 1998) and
 * Fashion-MNIST's (Xiao et al., 2017) are, plain or with gzip around ({@code .gz}):
 *
 * <pre>
 *   images   00 00 08 03 | images | rows | columns | one byte a pixel, image by image
 *   labels   00 00 08 01 | labels | one byte a label             (counts: 32 bits, big endian)
 * </pre>
 *
 * <p>All of it is kept in memory, a byte a pixel. Any thread may read; an iterator is one thread's.
 */
public final class IdxImages {
  private static final int IMAGES_MAGIC = 0x00000803;
  private static final int LABELS_MAGIC = 0x00000801;
  private static final long MOST_BYTES = Integer.MAX_VALUE - 8;
  private static final float WHITE = 255;

  private final int count;
  private final int rows;
  private final int columns;
  private final int classes;
  private final byte[] pixels;
  private final byte[] labels;

  private IdxImages(int count, int rows, int columns, byte[] pixels, byte[] labels) {
    this.count = count;
    this.rows = rows;
    this.columns = columns;
    this.pixels = pixels;
    this.labels = labels;
    int largest = 0;
    for (byte label : labels) {
      largest = Math.max(largest, Byte.toUnsignedInt(label));
    }
    this.classes = largest + 1;
  }

  /**
   * Reads a pair of files.
   *
   * @throws IOException where they cannot be read, are damaged, or do not belong together
   */
  public static IdxImages open(Path images, Path labels) throws IOException {
    try (DataInputStream input = stream(images)) {
      requireMagic(images, input, IMAGES_MAGIC, "images");
      int count = size(images, input);
      int rows = size(images, input);
      int columns = size(images, input);
      if ((long) rows * columns > MOST_BYTES / count) {
        throw new IOException(
            String.format(
                "%s claims %d images of %d x %d pixels, more than an array can hold.",
                images, count, rows, columns));
      }
      byte[] pixels = content(images, input, count * rows * columns);
      byte[] classes = readLabels(labels, images, count);
      return new IdxImages(count, rows, columns, pixels, classes);
    } catch (EOFException e) {
      throw truncated(images, e);
    }
  }

  private static byte[] readLabels(Path labels, Path images, int count) throws IOException {
    try (DataInputStream input = stream(labels)) {
      requireMagic(labels, input, LABELS_MAGIC, "labels");
      int found = size(labels, input);
      if (found != count) {
        throw new IOException(
            labels
                + " has "
                + found
                + " labels and "
                + images
                + " has "
                + count
                + " images. Name files that belong together.");
      }
      return content(labels, input, count);
    } catch (EOFException e) {
      throw truncated(labels, e);
    }
  }

  private static DataInputStream stream(Path file) throws IOException {
    InputStream input = new BufferedInputStream(Files.newInputStream(file));
    if (!file.toString().endsWith(".gz")) {
      return new DataInputStream(input);
    }
    try {
      return new DataInputStream(new GZIPInputStream(input));
    } catch (ZipException | EOFException e) {
      input.close();
      throw new IOException(file + " is no gzip file, as its name says.", e);
    } catch (IOException | RuntimeException e) {
      input.close();
      throw e;
    }
  }

  private static void requireMagic(Path file, DataInputStream input, int magic, String what)
      throws IOException {
    int found = input.readInt();
    if (found != magic) {
      throw new IOException(
          String.format(
              "%s is no idx file of %s: it begins with %08x, not with %08x.",
              file, what, found, magic));
    }
  }

  private static int size(Path file, DataInputStream input) throws IOException {
    int size = input.readInt();
    if (size < 1) {
      throw new IOException(file + " is damaged: it has a dimension of " + size + ".");
    }
    return size;
  }

  private static byte[] content(Path file, DataInputStream input, int bytes) throws IOException {
    byte[] content;
    try {
      content = input.readNBytes(bytes);
    } catch (EOFException | ZipException e) {
      throw new IOException(file + " is cut off or damaged: its gzip stream does not end.", e);
    }
    if (content.length < bytes) {
      throw new IOException(
          file + " is cut off: it has " + content.length + " of " + bytes + " bytes.");
    }
    return content;
  }

  private static IOException truncated(Path file, EOFException cause) {
    return new IOException(file + " is cut off within its header.", cause);
  }

  public int count() {
    return count;
  }

  public int rows() {
    return rows;
  }

  public int columns() {
    return columns;
  }

  /** One more than the largest label. */
  public int classes() {
    return classes;
  }

  /** All images in the order of the files, for evaluation. */
  public DataSetIterator batches(int size) {
    return new Batches(size, () -> place -> place);
  }

  /**
   * All images in an order that follows from the seed and the epoch, so that a resumed run meets
   * the same batches: each epoch has another one.
   *
   * @param epoch asked for when an epoch begins: the network's {@code getEpochCount} as a rule
   */
  public DataSetIterator shuffledBatches(int size, long seed, IntSupplier epoch) {
    return new Batches(
        size,
        () -> {
          int[] images = shuffle(CounterRandom.at(seed, epoch.getAsInt()));
          return place -> images[place];
        });
  }

  /** The number of the image at a place of an epoch. */
  private interface Order {
    int imageAt(int place);
  }

  private int[] shuffle(long seed) {
    int[] order = IntStream.range(0, count).toArray();
    for (int last = count - 1; last > 0; last--) { // Fisher and Yates
      int other = (int) (CounterRandom.unit(seed, last) * (last + 1));
      int image = order[last];
      order[last] = order[other];
      order[other] = image;
    }
    return order;
  }

  private final class Batches implements DataSetIterator {
    private static final long serialVersionUID = 1L;

    private final int size;
    private final transient Supplier<Order> orders; // asked when an epoch begins
    private transient @Nullable Order order;
    private transient @Nullable DataSetPreProcessor preProcessor;
    private int next;

    Batches(int size, Supplier<Order> orders) {
      if (size < 1) {
        throw new IllegalArgumentException("A batch has 1 image or more, not " + size);
      }
      this.size = size;
      this.orders = orders;
    }

    private Order order() {
      Order known = order;
      if (known == null) {
        known = orders.get();
        order = known;
      }
      return known;
    }

    @Override
    public boolean hasNext() {
      return next < count;
    }

    @Override
    public DataSet next() {
      return next(size);
    }

    @Override
    public DataSet next(int wanted) {
      if (!hasNext()) {
        throw new NoSuchElementException("The epoch's images are read");
      }
      Order images = order();
      int batch = Math.min(wanted, count - next);
      int imagePixels = rows * columns;
      float[] features = new float[batch * imagePixels];
      float[] targets = new float[batch * classes];
      for (int sample = 0; sample < batch; sample++) {
        int image = images.imageAt(next + sample);
        for (int pixel = 0; pixel < imagePixels; pixel++) {
          features[sample * imagePixels + pixel] =
              Byte.toUnsignedInt(pixels[image * imagePixels + pixel]) / WHITE;
        }
        targets[sample * classes + Byte.toUnsignedInt(labels[image])] = 1;
      }
      next += batch;
      DataSet made =
          new DataSet(matrix(features, batch, imagePixels), matrix(targets, batch, classes));
      DataSetPreProcessor last = preProcessor;
      if (last != null) {
        last.preProcess(made);
      }
      return made;
    }

    private static INDArray matrix(float[] elements, int rows, int columns) {
      return Nd4j.create(elements, new int[] {rows, columns}, 'c');
    }

    @Override
    public void reset() {
      next = 0;
      order = null;
    }

    @Override
    public boolean resetSupported() {
      return true;
    }

    @Override
    public boolean asyncSupported() {
      return true;
    }

    @Override
    public int batch() {
      return size;
    }

    @Override
    public int inputColumns() {
      return rows * columns;
    }

    @Override
    public int totalOutcomes() {
      return classes;
    }

    @Override
    public void setPreProcessor(DataSetPreProcessor wanted) {
      preProcessor = wanted;
    }

    @Override
    public @Nullable DataSetPreProcessor getPreProcessor() {
      return preProcessor;
    }

    @Override
    public List<String> getLabels() {
      return IntStream.range(0, classes).mapToObj(Integer::toString).toList();
    }
  }
}
