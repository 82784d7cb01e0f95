package dev.phalanx.deeplearning4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A table of numbers, a sample a row: some of its columns are features and others labels. Read from
 * comma-separated values (RFC 4180) or from Apache Parquet.
 *
 * <p>All of it is kept in memory as floats, 4 bytes a number, so numbers of more digits are
 * rounded; a table has 2,147,483,639 features at most, rows times columns.
 */
public final class Table implements Samples {
  private final int count;
  private final int featureCount;
  private final float[] features; // [count, featureCount]
  private final TableLabels labels;
  private final Reader another;

  /** Reads another file as this table was read. */
  @FunctionalInterface
  interface Reader {
    Table read(Path file) throws IOException;
  }

  Table(int count, float[] features, TableLabels labels, Reader another) {
    this.count = count;
    this.featureCount = features.length / count;
    this.features = features;
    this.labels = labels;
    this.another = another;
  }

  /**
   * Reads comma-separated values.
   *
   * @throws IOException where the file cannot be read, lacks a column, or has a cell that is
   *     missing or no number; the message names line and column
   */
  public static Table openCsv(Path file, TableColumns columns, CsvOptions options)
      throws IOException {
    return CsvTable.read(file, columns, null, options);
  }

  /**
   * Reads a Parquet file. Columns are BOOLEAN, INT32, INT64, FLOAT or DOUBLE, or lists of these
   * that have the same length in all rows and are as many features; labels of classes may be
   * strings. Pages are plain or compressed with Snappy, gzip, Zstandard or LZ4.
   *
   * @throws IOException where the file cannot be read, is damaged or encrypted, lacks a column, or
   *     has one of another type or with a null; the message names column and row, from 0
   */
  public static Table openParquet(Path file, TableColumns columns) throws IOException {
    return ParquetTable.read(file, columns, null);
  }

  /**
   * Reads another file of the same kind with this table's columns, by name where they have names,
   * and with its classes: a test set as the training set.
   *
   * @throws IOException as for this table, and where a label is none of its classes
   */
  public Table openLike(Path file) throws IOException {
    Table found = another.read(file);
    if (found.featureCount != featureCount || found.labelCount() != labelCount()) {
      throw new IOException(
          String.format(
              "%s has %d features and %d labels a row, where the training table has %d and %d.",
              file, found.featureCount, found.labelCount(), featureCount, labelCount()));
    }
    return found;
  }

  @Override
  public int count() {
    return count;
  }

  @Override
  public int featureCount() {
    return featureCount;
  }

  @Override
  public int labelCount() {
    return labels.width();
  }

  /**
   * The words that labels are, sorted, or the numbers; classes beyond the words are called by their
   * numbers, too.
   */
  @Override
  public List<String> classes() {
    return labels.classes();
  }

  @Override
  public DataSet read(int... numbers) {
    int width = labels.width();
    float[] some = new float[Math.multiplyExact(numbers.length, featureCount)];
    float[] targets = new float[Math.multiplyExact(numbers.length, width)];
    for (int sample = 0; sample < numbers.length; sample++) {
      int row = Objects.checkIndex(numbers[sample], count);
      System.arraycopy(features, row * featureCount, some, sample * featureCount, featureCount);
      labels.copy(row, targets, sample * width);
    }
    return new DataSet(
        Nd4j.create(some, new int[] {numbers.length, featureCount}, 'c'),
        Nd4j.create(targets, new int[] {numbers.length, width}, 'c'));
  }
}
