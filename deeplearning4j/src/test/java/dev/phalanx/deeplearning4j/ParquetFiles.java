package dev.phalanx.deeplearning4j;

import java.io.IOException;
import java.nio.file.Path;
import org.apache.parquet.column.ParquetProperties.WriterVersion;
import org.apache.parquet.conf.PlainParquetConfiguration;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.LocalOutputFile;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;
import org.jspecify.annotations.Nullable;

/** Parquet files by the library's own writer. */
record ParquetFiles(
    CompressionCodecName codec,
    WriterVersion version,
    boolean hasDictionary,
    @Nullable FileEncryptionProperties encryption) {
  private static final int ROW_GROUP_BYTES = 4096;
  private static final int PAGE_BYTES = 512;

  static final ParquetFiles PLAIN =
      new ParquetFiles(
          CompressionCodecName.UNCOMPRESSED,
          WriterVersion.PARQUET_1_0,
          true,
          /* encryption= */ null);

  /** Fills in a row. */
  @FunctionalInterface
  interface Row {
    void fill(Group group, int row);
  }

  /** Writes several row groups and pages where rows are more than some hundred. */
  Path write(Path file, String schema, int rows, Row content) throws IOException {
    MessageType type = MessageTypeParser.parseMessageType("message table {" + schema + "}");
    try (ParquetWriter<Group> writer =
        ExampleParquetWriter.builder(new LocalOutputFile(file))
            .withConf(new PlainParquetConfiguration())
            .withType(type)
            .withCompressionCodec(codec)
            .withWriterVersion(version)
            .withDictionaryEncoding(hasDictionary)
            .withRowGroupSize((long) ROW_GROUP_BYTES)
            .withPageSize(PAGE_BYTES)
            .withEncryption(encryption)
            .build()) {
      for (int row = 0; row < rows; row++) {
        Group group = new SimpleGroup(type);
        content.fill(group, row);
        writer.write(group);
      }
    }
    return file;
  }
}
