package dev.phalanx.deeplearning4j;

import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.apache.parquet.VersionParser;
import org.apache.parquet.VersionParser.ParsedVersion;
import org.apache.parquet.VersionParser.VersionParseException;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.column.ColumnReader;
import org.apache.parquet.column.impl.ColumnReaderImpl;
import org.apache.parquet.format.ColumnChunk;
import org.apache.parquet.format.ColumnMetaData;
import org.apache.parquet.format.FileMetaData;
import org.apache.parquet.format.RowGroup;
import org.apache.parquet.format.Util;
import org.apache.parquet.io.api.PrimitiveConverter;
import org.jspecify.annotations.Nullable;

/**
 * A Parquet file, read column by column.
 *
 * <pre>
 *   PAR1 | row groups: column chunks: pages | footer | its length: 32 bits, little endian | PAR1
 * </pre>
 *
 * <p>Parquet's own libraries decode footers, headers of pages and values. The way from the footer
 * to the bytes of a page is ours, here and in {@link ParquetPages}: theirs takes Hadoop.
 */
final class ParquetFile implements Closeable {
  private static final int MAGIC_BYTES = 4;
  private static final int TAIL_BYTES = Integer.BYTES + MAGIC_BYTES;

  private final Path path;
  private final FileChannel channel;
  private final FileMetaData footer;
  private final List<ParquetColumn> columns;
  private final @Nullable ParsedVersion writer; // some wrote what has to be read in their way

  private ParquetFile(Path path, FileChannel channel) throws IOException {
    this.path = path;
    this.channel = channel;
    this.footer = footer();
    this.columns = ParquetColumn.of(footer.getSchema());
    this.writer = writer(footer);
  }

  static ParquetFile open(Path path) throws IOException {
    FileChannel channel = FileChannel.open(path);
    try {
      return new ParquetFile(path, channel);
    } catch (IOException e) {
      channel.close();
      throw e;
    } catch (RuntimeException e) { // whatever damage makes the decoder stumble over
      channel.close();
      throw new IOException(path + " is damaged: its footer cannot be read.", e);
    }
  }

  private FileMetaData footer() throws IOException {
    long size = channel.size();
    if (size < MAGIC_BYTES + TAIL_BYTES) {
      throw new IOException(path + " is no Parquet file: it has " + size + " bytes.");
    }
    byte[] tail = stream(size - TAIL_BYTES).readNBytes(TAIL_BYTES);
    String magic = new String(tail, Integer.BYTES, MAGIC_BYTES, StandardCharsets.ISO_8859_1);
    if (magic.equals("PARE")) {
      throw new IOException(path + " is encrypted. Write it without encryption.");
    }
    if (!magic.equals("PAR1")) {
      throw new IOException(path + " is cut off, or no Parquet file: it does not end in PAR1.");
    }
    long length =
        Integer.toUnsignedLong(ByteBuffer.wrap(tail).order(ByteOrder.LITTLE_ENDIAN).getInt());
    if (length > size - TAIL_BYTES - MAGIC_BYTES) {
      throw new IOException(path + " is damaged: its footer would have " + length + " bytes.");
    }
    FileMetaData footer;
    try {
      footer = Util.readFileMetaData(stream(size - TAIL_BYTES - length));
    } catch (IOException e) {
      throw new IOException(path + " is damaged: its footer cannot be read.", e);
    }
    long rows = footer.getRow_groups().stream().mapToLong(RowGroup::getNum_rows).sum();
    if (rows != footer.getNum_rows()) {
      throw new IOException(
          String.format(
              "%s is damaged: its row groups have %d rows of %d.",
              path, rows, footer.getNum_rows()));
    }
    return footer;
  }

  private static @Nullable ParsedVersion writer(FileMetaData footer) {
    try {
      return footer.isSetCreated_by() ? VersionParser.parse(footer.getCreated_by()) : null;
    } catch (VersionParseException e) {
      return null;
    }
  }

  /** Moves the channel: one stream is read at a time. */
  private InputStream stream(long start) throws IOException {
    return new BufferedInputStream(Channels.newInputStream(channel.position(start)));
  }

  Path path() {
    return path;
  }

  long rows() {
    return footer.getNum_rows();
  }

  List<ParquetColumn> columns() {
    return columns;
  }

  /** How many values a column has in all, missing ones included. */
  long valueCount(ParquetColumn column) throws IOException {
    long count = 0;
    for (RowGroup group : footer.getRow_groups()) {
      count += chunk(column, group).getNum_values();
    }
    return count;
  }

  /** What is known of a column in a row group. */
  private ColumnMetaData chunk(ParquetColumn column, RowGroup group) throws IOException {
    if (column.leaf() >= group.getColumnsSize()) {
      throw new IOException(place(column) + " is damaged: a row group lacks it.");
    }
    ColumnChunk chunk = group.getColumns().get(column.leaf());
    if (chunk.isSetCrypto_metadata()) {
      throw new IOException(place(column) + " is encrypted. Write it without encryption.");
    }
    if (chunk.isSetFile_path()) {
      throw new IOException(
          place(column) + " is kept in " + chunk.getFile_path() + ". Write it into one file.");
    }
    if (!chunk.isSetMeta_data()) {
      throw new IOException(place(column) + " is damaged: a row group does not say where it is.");
    }
    return chunk.getMeta_data();
  }

  /** Takes the values of a column, row by row. */
  @FunctionalInterface
  interface Sink {
    /**
     * @param reader stands at the value
     * @param row from 0
     * @param place of the value in its row, from 0
     */
    void accept(ColumnReader reader, long row, int place) throws IOException;
  }

  /**
   * Reads a column.
   *
   * @param descriptor of {@link ParquetColumn#values}
   */
  void read(ParquetColumn column, ColumnDescriptor descriptor, Sink sink) throws IOException {
    long row = 0;
    for (RowGroup group : footer.getRow_groups()) {
      long end = row + group.getNum_rows();
      try {
        row += read(column, chunk(column, group), descriptor, row, sink);
      } catch (UncheckedIOException e) {
        IOException cause = Objects.requireNonNull(e.getCause());
        throw new IOException(place(column) + " " + cause.getMessage(), cause);
      } catch (RuntimeException e) { // whatever damage makes a decoder stumble over
        throw new IOException(place(column) + " is damaged: its values cannot be read.", e);
      }
      if (row != end) {
        throw new IOException(place(column) + " is damaged: its row groups lack rows.");
      }
    }
  }

  /** Reads the chunk of a row group and counts the rows. */
  private long read(
      ParquetColumn column,
      ColumnMetaData chunk,
      ColumnDescriptor descriptor,
      long first,
      Sink sink)
      throws IOException {
    long values = chunk.getNum_values();
    if (values == 0) {
      return 0;
    }
    ColumnReader reader =
        new ColumnReaderImpl(
            descriptor,
            new ParquetPages(stream(firstPage(chunk)), chunk),
            new PrimitiveConverter() {}, // values are asked for one by one
            writer);
    long row = first - 1;
    int place = 0;
    for (long value = 0; value < values; value++) {
      if (reader.getCurrentRepetitionLevel() == 0) {
        row++;
        place = 0;
      }
      if (reader.getCurrentDefinitionLevel() < descriptor.getMaxDefinitionLevel()) {
        throw new IOException(
            place(column, row) + " is missing. Fill it in, or leave the row or the column out.");
      }
      sink.accept(reader, row, place);
      place++;
      reader.consume();
    }
    return row + 1 - first;
  }

  private static long firstPage(ColumnMetaData chunk) {
    long values = chunk.getData_page_offset();
    long dictionary = chunk.getDictionary_page_offset();
    return dictionary > 0 ? Math.min(dictionary, values) : values; // some write 0 for none
  }

  String place(ParquetColumn column) {
    return String.format("%s, column \"%s\"", path, column.name());
  }

  String place(ParquetColumn column, long row) {
    return String.format("%s, row %d, column \"%s\"", path, row, column.name());
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
