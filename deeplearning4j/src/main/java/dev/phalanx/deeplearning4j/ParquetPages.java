package dev.phalanx.deeplearning4j;

import io.airlift.compress.Decompressor;
import io.airlift.compress.lz4.Lz4Decompressor;
import io.airlift.compress.snappy.SnappyDecompressor;
import io.airlift.compress.zstd.ZstdDecompressor;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.zip.CRC32;
import java.util.zip.GZIPInputStream;
import org.apache.parquet.bytes.BytesInput;
import org.apache.parquet.column.Encoding;
import org.apache.parquet.column.page.DataPage;
import org.apache.parquet.column.page.DataPageV1;
import org.apache.parquet.column.page.DataPageV2;
import org.apache.parquet.column.page.DictionaryPage;
import org.apache.parquet.column.page.PageReader;
import org.apache.parquet.format.ColumnMetaData;
import org.apache.parquet.format.CompressionCodec;
import org.apache.parquet.format.DataPageHeader;
import org.apache.parquet.format.DataPageHeaderV2;
import org.apache.parquet.format.PageHeader;
import org.apache.parquet.format.PageType;
import org.apache.parquet.format.Util;
import org.jspecify.annotations.Nullable;

/**
 * The pages of a column chunk, decompressed: at most one with a dictionary, then those with values.
 * Each is a header and what it says follows it:
 *
 * <pre>
 *   version 1   compressed: repetition levels | definition levels | values
 *   version 2   repetition levels | definition levels | compressed: values
 * </pre>
 *
 * <p>What is wrong with them is thrown as an {@link UncheckedIOException}, whose cause says it of
 * the column.
 */
final class ParquetPages implements PageReader {
  private final InputStream input;
  private final ColumnMetaData chunk;
  private long valuesAhead;
  private @Nullable DataPage first; // read in search of a dictionary

  /**
   * @param input at the first page
   */
  ParquetPages(InputStream input, ColumnMetaData chunk) {
    this.input = input;
    this.chunk = chunk;
    this.valuesAhead = chunk.getNum_values();
  }

  @Override
  public long getTotalValueCount() {
    return chunk.getNum_values();
  }

  @Override
  public @Nullable DictionaryPage readDictionaryPage() {
    try {
      PageHeader header = header();
      if (header.getType() != PageType.DICTIONARY_PAGE) {
        first = page(header);
        return null;
      }
      byte[] body = body(header);
      return new DictionaryPage(
          BytesInput.from(decompressed(body, 0, header.getUncompressed_page_size())),
          header.getDictionary_page_header().getNum_values(),
          encoding(header.getDictionary_page_header().getEncoding()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public @Nullable DataPage readPage() {
    DataPage page = first;
    first = null;
    try {
      while (page == null && valuesAhead > 0) {
        page = page(header());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    if (page != null) {
      valuesAhead -= page.getValueCount();
    }
    return page;
  }

  private PageHeader header() throws IOException {
    try {
      return Util.readPageHeader(input);
    } catch (IOException e) {
      throw new IOException("is damaged: the header of a page cannot be read.", e);
    }
  }

  /** Null where it is a page of another kind. */
  private @Nullable DataPage page(PageHeader header) throws IOException {
    byte[] body = body(header);
    return switch (header.getType()) {
      case DATA_PAGE -> version1(header, body);
      case DATA_PAGE_V2 -> version2(header, body);
      default -> null;
    };
  }

  private DataPage version1(PageHeader header, byte[] body) throws IOException {
    DataPageHeader values = header.getData_page_header();
    int size = header.getUncompressed_page_size();
    return new DataPageV1(
        BytesInput.from(decompressed(body, 0, size)),
        values.getNum_values(),
        size,
        null,
        encoding(values.getRepetition_level_encoding()),
        encoding(values.getDefinition_level_encoding()),
        encoding(values.getEncoding()));
  }

  private DataPage version2(PageHeader header, byte[] body) throws IOException {
    DataPageHeaderV2 values = header.getData_page_header_v2();
    int repetitions = values.getRepetition_levels_byte_length();
    int definitions = values.getDefinition_levels_byte_length();
    int levels = Math.addExact(repetitions, definitions);
    boolean isCompressed = !values.isSetIs_compressed() || values.isIs_compressed();
    byte[] data =
        isCompressed
            ? decompressed(body, levels, header.getUncompressed_page_size() - levels)
            : Arrays.copyOfRange(body, levels, body.length);
    return DataPageV2.uncompressed(
        values.getNum_rows(),
        values.getNum_nulls(),
        values.getNum_values(),
        BytesInput.from(body, 0, repetitions),
        BytesInput.from(body, repetitions, definitions),
        encoding(values.getEncoding()),
        BytesInput.from(data),
        null);
  }

  private static Encoding encoding(org.apache.parquet.format.Encoding encoding) {
    return Encoding.valueOf(encoding.name());
  }

  private byte[] body(PageHeader header) throws IOException {
    long most = chunk.getTotal_uncompressed_size(); // lest a damaged size asks for all memory
    int size = header.getCompressed_page_size();
    if (size < 0 || size > chunk.getTotal_compressed_size()) {
      throw new IOException("is damaged: it has a page of " + size + " bytes.");
    }
    if (header.getUncompressed_page_size() < 0 || header.getUncompressed_page_size() > most) {
      throw new IOException(
          "is damaged: it has a page of "
              + header.getUncompressed_page_size()
              + " bytes without compression.");
    }
    byte[] body = input.readNBytes(size);
    if (body.length < size) {
      throw new IOException(
          "is cut off: it has " + body.length + " of a page's " + size + " bytes.");
    }
    if (header.isSetCrc()) {
      CRC32 sum = new CRC32();
      sum.update(body);
      if ((int) sum.getValue() != header.getCrc()) {
        throw new IOException("is damaged: a page does not have its checksum.");
      }
    }
    return body;
  }

  /** Of the rest of a page, [size]. */
  private byte[] decompressed(byte[] body, int from, int size) throws IOException {
    CompressionCodec codec = chunk.getCodec();
    byte[] content =
        size == 0
            ? new byte[0]
            : switch (codec) {
              case UNCOMPRESSED -> Arrays.copyOfRange(body, from, body.length);
              case SNAPPY -> decompressed(new SnappyDecompressor(), body, from, size);
              case ZSTD -> decompressed(new ZstdDecompressor(), body, from, size);
              case LZ4_RAW -> decompressed(new Lz4Decompressor(), body, from, size);
              case GZIP -> unzipped(body, from, size);
              default ->
                  throw new IOException(
                      "is compressed with "
                          + codec
                          + ". Write it with Snappy, gzip, Zstandard, LZ4_RAW or none.");
            };
    if (content.length != size) {
      throw new IOException(
          "is damaged: a page has " + content.length + " bytes, and its header says " + size + ".");
    }
    return content;
  }

  private static byte[] decompressed(Decompressor codec, byte[] body, int from, int size) {
    byte[] content = new byte[size];
    int found = codec.decompress(body, from, body.length - from, content, 0, size);
    return found == size ? content : Arrays.copyOf(content, found);
  }

  private static byte[] unzipped(byte[] body, int from, int size) throws IOException {
    byte[] content;
    boolean isAtEnd; // where the stream's checksum is looked at
    try (InputStream stream =
        new GZIPInputStream(new ByteArrayInputStream(body, from, body.length - from))) {
      content = stream.readNBytes(size);
      isAtEnd = stream.read() < 0;
    } catch (IOException e) {
      throw new IOException("is damaged: a page is no gzip stream that ends with its checksum.", e);
    }
    if (!isAtEnd) {
      throw new IOException(
          "is damaged: a page has more bytes than the " + size + " that its header says.");
    }
    return content;
  }
}
