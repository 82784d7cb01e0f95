package dev.phalanx.deeplearning4j;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;
import org.apache.commons.csv.CSVException;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVParser;
import org.apache.commons.csv.CSVRecord;
import org.jspecify.annotations.Nullable;

/** Reads a {@link Table} from comma-separated values, a line after the other. */
final class CsvTable {
  private static final int BYTE_ORDER_MARK = '\uFEFF';

  /** What files write where a number is missing or not finite: data, and no column's name. */
  private static final Pattern NO_NUMBER =
      Pattern.compile("[?-]|null|none|na|#?n/a|[+-]?(nan|inf|infinity)", Pattern.CASE_INSENSITIVE);

  private static final String HEADER_ADVICE =
      "If the line is a header, say so: 'header: yes' in a plan, CsvOptions.Header.YES in Java.";

  private final Path file;
  private final List<String> names; // of all columns; none without a header
  private final int width;
  private final CsvOptions options;
  private final TableColumns.Places places;
  private final @Nullable ClassLabels classes; // null where labels are numbers to predict
  private final FloatList targets = new FloatList();
  private final FloatList features = new FloatList();
  private int count;

  private CsvTable(
      Path file,
      List<String> names,
      int width,
      TableColumns columns,
      @Nullable ClassCodes known,
      CsvOptions options)
      throws IOException {
    this.file = file;
    this.names = names;
    this.width = width;
    this.options = options;
    this.places = columns.in(file, names, width);
    int label = places.labels().get(0);
    this.classes =
        columns.classes() == 0
            ? null
            : new ClassLabels(columns.classes(), known, line -> place(line, label));
  }

  /**
   * @param known the classes of the table that this one is to be like
   */
  static Table read(Path file, TableColumns columns, @Nullable ClassCodes known, CsvOptions options)
      throws IOException {
    CSVFormat format =
        CSVFormat.DEFAULT
            .builder()
            .setDelimiter(options.delimiter())
            .setIgnoreEmptyLines(true)
            .setIgnoreSurroundingSpaces(true)
            .get();
    try (BufferedReader text = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
      skipByteOrderMark(text);
      try (CSVParser lines = CSVParser.parse(text, format)) {
        return read(file, lines, columns, known, options);
      }
    } catch (CharacterCodingException | CSVException e) {
      throw unreadable(file, e);
    } catch (UncheckedIOException e) {
      throw unreadable(file, Objects.requireNonNull(e.getCause()));
    }
  }

  private static void skipByteOrderMark(BufferedReader text) throws IOException {
    text.mark(1);
    if (text.read() != BYTE_ORDER_MARK) {
      text.reset();
    }
  }

  private static IOException unreadable(Path file, IOException cause) {
    return new IOException(
        cause instanceof CharacterCodingException
            ? file + " is no text in UTF-8. Convert it."
            : file + " is damaged: " + cause.getMessage(),
        cause);
  }

  private static Table read(
      Path file,
      CSVParser lines,
      TableColumns columns,
      @Nullable ClassCodes known,
      CsvOptions options)
      throws IOException {
    Iterator<CSVRecord> records = lines.iterator();
    if (!records.hasNext()) {
      throw new IOException(file + " is empty.");
    }
    long line = lines.getCurrentLineNumber();
    CSVRecord first = records.next();
    boolean hasHeader = hasHeader(file, first, columns, options.header());
    CsvTable table =
        new CsvTable(
            file, hasHeader ? first.toList() : List.of(), first.size(), columns, known, options);
    if (!hasHeader) {
      table.add(first, line);
    }
    while (records.hasNext()) { // reads the line, whose number is asked for before the next
      line = lines.getCurrentLineNumber();
      table.add(records.next(), line);
    }
    return table.done(columns);
  }

  private static boolean hasHeader(
      Path file, CSVRecord first, TableColumns columns, CsvOptions.Header header)
      throws IOException {
    if (header != CsvOptions.Header.AUTO) {
      return header == CsvOptions.Header.YES;
    }
    if (columns.needNames()) {
      return true;
    }
    List<String> features =
        columns.in(file, List.of(), first.size()).features().stream()
            .map(first::get)
            .filter(cell -> !cell.isEmpty()) // of data or, before an index, of a header
            .toList();
    return !features.isEmpty() && features.stream().noneMatch(CsvTable::isData);
  }

  /** A number, or what stands in the place of one. */
  private static boolean isData(String cell) {
    return !Float.isNaN(Decimals.toFloat(cell)) || NO_NUMBER.matcher(cell).matches();
  }

  private void add(CSVRecord cells, long line) throws IOException {
    if (cells.size() != width) {
      throw new IOException(
          String.format(
              "%s, line %d has %d columns, where the first line has %d. Quote cells that contain"
                  + " the delimiter.",
              file, line, cells.size(), width));
    }
    for (int column : places.labels()) {
      if (classes != null) {
        classes.add(cells.get(column), line);
      } else {
        targets.add(number(cells, column, line));
      }
    }
    for (int column : places.features()) {
      if (!features.add(number(cells, column, line))) {
        throw new IOException(
            String.format(
                "%s has more than %d features, rows times columns, at line %d. Name fewer features,"
                    + " or divide the file.",
                file, FloatList.MOST, line));
      }
    }
    count++;
  }

  private float number(CSVRecord cells, int column, long line) throws IOException {
    String cell = cells.get(column);
    float number = Decimals.toFloat(cell);
    if (!Float.isFinite(number)) {
      throw new IOException(
          String.format(
              "%s %s. Correct it, leave the line out, or name only columns of numbers.%s",
              place(line, column),
              cell.isEmpty() ? "is empty" : "is \"" + cell + "\", no finite number",
              mayBeHeader() ? " " + HEADER_ADVICE : ""));
    }
    return number;
  }

  /** Whether the line that is read is the first one, which nobody has said to be no header. */
  private boolean mayBeHeader() {
    return count == 0 && names.isEmpty() && options.header() == CsvOptions.Header.AUTO;
  }

  private String place(long line, int column) {
    return String.format(
        "%s, line %d, column %s",
        file, line, names.isEmpty() ? column : "\"" + names.get(column) + "\"");
  }

  private Table done(TableColumns columns) throws IOException {
    if (count == 0) {
      throw new IOException(file + " has no line after its header.");
    }
    TableColumns same = columns.of(places, names);
    if (classes == null) {
      TableLabels labels = new TableLabels.Values(targets.toArray(), places.labels().size());
      return new Table(
          count, features.toArray(), labels, another -> read(another, same, null, options));
    }
    TableLabels.OneHot labels = classes.coded();
    return new Table(
        count, features.toArray(), labels, another -> read(another, same, labels.codes(), options));
  }
}
