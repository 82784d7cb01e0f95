package dev.phalanx.deeplearning4j;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;
import org.nd4j.linalg.dataset.DataSet;
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
 * <p>All of it is kept in memory, a byte a pixel.
 */
public final class IdxImages implements Samples {
  private static final int IMAGES_MAGIC = 0x00000803;
  private static final int LABELS_MAGIC = 0x00000801;
  private static final long MOST_BYTES = Integer.MAX_VALUE - 8;
  private static final float WHITE = 255;
  private static final String GZIP = ".gz";

  private final int count;
  private final int rows;
  private final int columns;
  private final int classes;
  private final byte[] pixels;
  private final byte[] labels;

  private IdxImages(int count, int rows, int columns, int classes, byte[] pixels, byte[] labels) {
    this.count = count;
    this.rows = rows;
    this.columns = columns;
    this.classes = classes;
    this.pixels = pixels;
    this.labels = labels;
  }

  private static int largest(byte[] labels) {
    int largest = 0;
    for (byte label : labels) {
      largest = Math.max(largest, Byte.toUnsignedInt(label));
    }
    return largest;
  }

  /** A part of a data set, which MNIST's files are named after. */
  public enum Part {
    TRAIN("train"),
    TEST("t10k");

    private final String prefix;

    Part(String prefix) {
      this.prefix = prefix;
    }
  }

  /**
   * Reads the pair of files that has MNIST's names in a folder: {@code train-images-idx3-ubyte} and
   * {@code train-labels-idx1-ubyte}, or {@code t10k-…}; some copies have a dot before {@code idx}.
   * Either may end in {@code .gz}.
   *
   * @throws IOException where there is no such pair, or as {@link #open}
   */
  public static IdxImages openFolder(Path folder, Part part) throws IOException {
    return open(
        find(folder, part.prefix + "-images", "idx3-ubyte"),
        find(folder, part.prefix + "-labels", "idx1-ubyte"));
  }

  private static Path find(Path folder, String name, String format) throws IOException {
    List<String> names = List.of(name + "-" + format, name + "." + format);
    for (String plain : names) {
      for (String ending : List.of("", GZIP)) {
        Path file = folder.resolve(plain + ending);
        if (Files.isRegularFile(file)) {
          return file;
        }
      }
    }
    throw new IOException(
        String.format(
            "%s has neither %s nor %s, with or without %s at the end. Name the folder of the idx"
                + " files.",
            folder, names.get(0), names.get(1), GZIP));
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
      return new IdxImages(count, rows, columns, largest(classes) + 1, pixels, classes);
    } catch (EOFException e) {
      throw truncated(images, e);
    } catch (ZipException e) {
      throw unzippable(images, e);
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
    } catch (ZipException e) {
      throw unzippable(labels, e);
    }
  }

  private static DataInputStream stream(Path file) throws IOException {
    InputStream input = new BufferedInputStream(Files.newInputStream(file));
    if (!file.toString().endsWith(GZIP)) {
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

  /** All that is left, to the end of the file: a gzip stream has its checksum there. */
  private static byte[] content(Path file, DataInputStream input, int bytes) throws IOException {
    byte[] content;
    boolean isAtEnd;
    try {
      content = input.readNBytes(bytes);
      isAtEnd = input.read() < 0;
    } catch (EOFException e) {
      throw unzippable(file, e);
    }
    if (content.length < bytes) {
      throw new IOException(
          file + " is cut off: it has " + content.length + " of " + bytes + " bytes.");
    }
    if (!isAtEnd) {
      throw new IOException(
          file + " is damaged: it has more bytes than the " + bytes + " that its header says.");
    }
    return content;
  }

  private static IOException unzippable(Path file, IOException cause) {
    return new IOException(
        file + " is cut off or damaged: its gzip stream does not end with its checksum.", cause);
  }

  private static IOException truncated(Path file, EOFException cause) {
    return new IOException(file + " is cut off within its header.", cause);
  }

  @Override
  public int count() {
    return count;
  }

  public int rows() {
    return rows;
  }

  public int columns() {
    return columns;
  }

  @Override
  public int featureCount() {
    return rows * columns;
  }

  /** One more than the largest label, or what {@link #withClasses} said. */
  @Override
  public int labelCount() {
    return classes;
  }

  /** Their numbers. */
  @Override
  public List<String> classes() {
    return IntStream.range(0, classes).mapToObj(Integer::toString).toList();
  }

  /**
   * The same images for a network of more classes than are labelled here, as a test set may need.
   *
   * @throws IllegalArgumentException where an image has a label beyond them
   */
  public IdxImages withClasses(int wanted) {
    int largest = largest(labels);
    if (wanted <= largest) {
      throw new IllegalArgumentException(
          "An image has the label " + largest + ", which is none of " + wanted + " classes");
    }
    return new IdxImages(count, rows, columns, wanted, pixels, labels);
  }

  /**
   * A view of the same images as convolutional layers take them: features are [images, 1, rows,
   * columns]. For networks of {@code InputType.convolutional(rows, columns, 1)}; those of {@code
   * InputType.convolutionalFlat} take these images as they are.
   */
  public Samples asImages() {
    return preProcessed(shape());
  }

  ImageShape shape() {
    return new ImageShape(rows, columns);
  }

  /** Features are the pixels row by row, from 0 (black) to 1. */
  @Override
  public DataSet read(int... numbers) {
    int imagePixels = rows * columns;
    float[] features = new float[Math.multiplyExact(numbers.length, imagePixels)];
    float[] targets = new float[Math.multiplyExact(numbers.length, classes)];
    for (int sample = 0; sample < numbers.length; sample++) {
      int image = Objects.checkIndex(numbers[sample], count);
      for (int pixel = 0; pixel < imagePixels; pixel++) {
        features[sample * imagePixels + pixel] =
            Byte.toUnsignedInt(pixels[image * imagePixels + pixel]) / WHITE;
      }
      targets[sample * classes + Byte.toUnsignedInt(labels[image])] = 1;
    }
    return new DataSet(
        Nd4j.create(features, new int[] {numbers.length, imagePixels}, 'c'),
        Nd4j.create(targets, new int[] {numbers.length, classes}, 'c'));
  }
}
