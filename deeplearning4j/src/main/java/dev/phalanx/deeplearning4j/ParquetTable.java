package dev.phalanx.deeplearning4j;

import dev.phalanx.deeplearning4j.ParquetColumn.Values;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.apache.parquet.column.ColumnDescriptor;
import org.jspecify.annotations.Nullable;

/** Reads a {@link Table} from a Parquet file, a column after the other. */
final class ParquetTable {
  private final ParquetFile file;
  private final int rows;

  private ParquetTable(ParquetFile file) throws IOException {
    this.file = file;
    if (file.rows() < 1 || file.rows() > FloatList.MOST) {
      throw new IOException(
          String.format(
              "%s has %d rows; 1 to %d can be read.", file.path(), file.rows(), FloatList.MOST));
    }
    this.rows = (int) file.rows();
  }

  /**
   * @param known the classes of the table that this one is to be like
   */
  static Table read(Path path, TableColumns columns, @Nullable ClassCodes known)
      throws IOException {
    try (ParquetFile file = ParquetFile.open(path)) {
      ParquetTable table = new ParquetTable(file);
      List<String> names = file.columns().stream().map(ParquetColumn::name).toList();
      TableColumns.Places places = columns.in(path, names, names.size());
      TableColumns same = columns.of(places, names);
      List<ParquetColumn> labels = places.labels().stream().map(file.columns()::get).toList();
      Matrix features = table.numbers(places.features().stream().map(file.columns()::get).toList());
      if (columns.classes() == 0) {
        Matrix targets = table.numbers(labels);
        return new Table(
            table.rows,
            features.all(),
            new TableLabels.Values(targets.all(), targets.width()),
            another -> read(another, same, null));
      }
      TableLabels.OneHot coded = table.classes(labels.get(0), columns.classes(), known);
      return new Table(
          table.rows, features.all(), coded, another -> read(another, same, coded.codes()));
    }
  }

  /**
   * Several columns of numbers.
   *
   * @param all [rows, width]
   */
  @SuppressWarnings("ArrayRecordComponent")
  private record Matrix(float[] all, int width) {}

  private Matrix numbers(List<ParquetColumn> columns) throws IOException {
    long width = 0;
    for (ParquetColumn column : columns) {
      width += width(column);
    }
    if (width * rows > FloatList.MOST) {
      throw new IOException(
          String.format(
              "%s has %d columns of %d rows, more than the %d numbers that can be read. Name fewer"
                  + " features, or divide the file.",
              file.path(), width, rows, FloatList.MOST));
    }
    float[] all = new float[(int) width * rows];
    int offset = 0;
    for (ParquetColumn column : columns) {
      int columnWidth = width(column);
      copy(column, all, (int) width, offset, columnWidth);
      offset += columnWidth;
    }
    return new Matrix(all, (int) width);
  }

  private Values values(ParquetColumn column) throws IOException {
    Values values = column.values();
    if (values == null) {
      throw new IOException(
          String.format(
              "%s is %s. Booleans, integers, floats, doubles and lists of them can be read: name"
                  + " only such columns.",
              file.place(column), column.type()));
    }
    return values;
  }

  /** How many numbers a row has. */
  private int width(ParquetColumn column) throws IOException {
    Values values = values(column);
    if (values.areText()) {
      throw new IOException(file.place(column) + " is text. Name only columns of numbers.");
    }
    return values.areLists() ? Math.toIntExact(Math.max(1, file.valueCount(column) / rows)) : 1;
  }

  private void copy(ParquetColumn column, float[] all, int width, int offset, int columnWidth)
      throws IOException {
    Values values = values(column);
    int[] count = new int[1]; // of the row's numbers
    file.read(
        column,
        values.descriptor(),
        (reader, row, place) -> {
          if (place >= columnWidth || (place == 0 && row > 0 && count[0] < columnWidth)) {
            throw uneven(column, place == 0 ? row - 1 : row);
          }
          count[0] = place + 1;
          float number = (float) values.number(reader);
          if (!Float.isFinite(number)) {
            throw new IOException(
                String.format(
                    "%s is %s, no finite float. Correct it, or leave the row or the column out.",
                    file.place(column, row), values.number(reader)));
          }
          all[(int) row * width + offset + place] = number;
        });
    if (count[0] < columnWidth) {
      throw uneven(column, rows - 1L);
    }
  }

  private IOException uneven(ParquetColumn column, long row) {
    return new IOException(
        file.place(column, row)
            + " is a list of another length than others. Each number of a list is a feature, so all"
            + " are to have the same.");
  }

  private TableLabels.OneHot classes(ParquetColumn column, int classes, @Nullable ClassCodes known)
      throws IOException {
    Values values = values(column);
    ColumnDescriptor descriptor = values.descriptor();
    if (values.areLists()) {
      throw new IOException(
          file.place(column) + " is lists. A column of labels has one class a row.");
    }
    ClassLabels labels = new ClassLabels(classes, known, row -> file.place(column, row));
    file.read(
        column,
        descriptor,
        (reader, row, place) -> {
          if (values.areText()) {
            labels.add(reader.getBinary().toStringUsingUTF8(), row);
          } else {
            labels.add(values.number(reader), row);
          }
        });
    return labels.coded();
  }
}
