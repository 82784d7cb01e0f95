package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Objects;
import java.util.zip.GZIPOutputStream;
import org.apache.parquet.column.page.DataPageV1;
import org.apache.parquet.format.ColumnMetaData;
import org.apache.parquet.format.CompressionCodec;
import org.apache.parquet.format.DataPageHeader;
import org.apache.parquet.format.Encoding;
import org.apache.parquet.format.PageHeader;
import org.apache.parquet.format.PageType;
import org.apache.parquet.format.Util;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Pages without a checksum of Parquet's own, which other writers leave out. */
final class ParquetPagesTest {
  private static final byte[] VALUES = {1, 2, 3, 4, 5, 6, 7, 8};

  private static byte[] zipped() throws IOException {
    ByteArrayOutputStream zipped = new ByteArrayOutputStream();
    try (GZIPOutputStream output = new GZIPOutputStream(zipped)) {
      output.write(VALUES);
    }
    return zipped.toByteArray();
  }

  /** A chunk of one page with gzip, whose header says so many bytes without. */
  private static ParquetPages page(byte[] zipped, int size) throws IOException {
    PageHeader header = new PageHeader(PageType.DATA_PAGE, size, zipped.length);
    header.setData_page_header(new DataPageHeader(2, Encoding.PLAIN, Encoding.RLE, Encoding.RLE));
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    Util.writePageHeader(header, file);
    file.write(zipped);
    ColumnMetaData chunk = new ColumnMetaData();
    chunk.setCodec(CompressionCodec.GZIP);
    chunk.setNum_values(2);
    chunk.setTotal_compressed_size(file.size());
    chunk.setTotal_uncompressed_size(file.size());
    return new ParquetPages(new ByteArrayInputStream(file.toByteArray()), chunk);
  }

  @Test
  void aPageIsWhatItsHeaderSays() throws IOException {
    DataPageV1 page = (DataPageV1) Objects.requireNonNull(page(zipped(), 8).readPage());
    assertThat(page.getBytes().toByteArray()).isEqualTo(VALUES);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 4, 5, 8})
  void aGzipStreamThatDoesNotHaveItsChecksumIsDamaged(int fromItsEnd) throws IOException {
    byte[] zipped = zipped();
    zipped[zipped.length - fromItsEnd] ^= 1;
    ParquetPages pages = page(zipped, 8);

    assertThatThrownBy(pages::readPage)
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageContaining("is damaged: a page is no gzip stream that ends with its checksum");
  }

  @Test
  void moreThanItsHeaderSaysIsDamage() throws IOException {
    ParquetPages pages = page(zipped(), 7);

    assertThatThrownBy(pages::readPage)
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageContaining("a page has more bytes than the 7 that its header says");
  }
}
