package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.apache.parquet.column.ParquetProperties.WriterVersion;
import org.apache.parquet.crypto.ColumnEncryptionProperties;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.metadata.ColumnPath;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class ParquetTableTest {
  private static final TableColumns Y = new TableColumns(List.of("y"), 0, List.of());
  private static final TableColumns X_TO_Y = new TableColumns(List.of("y"), 0, List.of("x"));
  private static final byte[] KEY = "0123456789012345".getBytes(StandardCharsets.US_ASCII);

  @TempDir private Path folder = Path.of("");

  private Path write(String schema, int rows, ParquetFiles.Row content) throws IOException {
    return ParquetFiles.PLAIN.write(folder.resolve("table.parquet"), schema, rows, content);
  }

  private static float[][] features(Samples table) {
    return table.read(IntStream.range(0, table.count()).toArray()).getFeatures().toFloatMatrix();
  }

  private static float[][] labels(Samples table) {
    return table.read(IntStream.range(0, table.count()).toArray()).getLabels().toFloatMatrix();
  }

  @Test
  void numbersOfAllTypesAreFeatures() throws Exception {
    Path file =
        write(
            "required boolean a; required int32 b; optional int64 c; required float d;"
                + " required double e; required int32 f (INTEGER(8, true));"
                + " required int32 g (INTEGER(32, false)); required int64 h (INTEGER(64, false));"
                + " required int64 y;",
            2,
            (group, row) ->
                group
                    .append("a", row == 1)
                    .append("b", -7 - row)
                    .append("c", 1L << 40)
                    .append("d", 0.5f)
                    .append("e", 1e-3)
                    .append("f", -1)
                    .append("g", -1)
                    .append("h", -1L)
                    .append("y", row + 3L));

    Table table = Table.openParquet(file, Y);

    assertThat(features(table))
        .isDeepEqualTo(
            new float[][] {
              {0, -7, 0x1p40f, 0.5f, 1e-3f, -1, 0x1p32f, 0x1p64f},
              {1, -8, 0x1p40f, 0.5f, 1e-3f, -1, 0x1p32f, 0x1p64f}
            });
    assertThat(labels(table)).isDeepEqualTo(new float[][] {{3}, {4}});
  }

  @ParameterizedTest
  @CsvSource({
    "required group x (LIST) { repeated group list { required int32 element; } }",
    "optional group x (LIST) { repeated group list { optional int32 element; } }",
    "required group x (LIST) { repeated int32 element; }",
    "repeated int32 x;"
  })
  void listsOfOneLengthAreFeatures(String x) throws Exception {
    Path file =
        write(
            "required int32 w; " + x + " required int32 y;",
            500,
            (group, row) -> {
              group.append("w", row).append("y", 0);
              fill(group, row, 3);
            });

    Table table = Table.openParquet(file, Y);

    assertThat(table.featureCount()).isEqualTo(4);
    assertThat(features(table))
        .isDeepEqualTo(
            IntStream.range(0, 500)
                .mapToObj(row -> new float[] {row, row, row + 1, row + 2})
                .toArray(float[][]::new));
  }

  private static void fill(Group group, int row, int length) {
    boolean isGroup = !group.getType().getType("x").isPrimitive();
    var list = isGroup ? group.addGroup("x") : group;
    for (int place = 0; place < length; place++) {
      if (!isGroup) {
        list.append("x", row + place);
      } else if (list.getType().getType(0).isPrimitive()) {
        list.append("element", row + place);
      } else {
        list.addGroup("list").append("element", row + place);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"3, 2, 1", "2, 3, 1", "2, 0, 1"})
  void listsOfSeveralLengthsAreRefused(int usual, int other, int row) throws Exception {
    Path file =
        write(
            "required group x (LIST) { repeated group list { required int32 element; } }"
                + " required int32 y;",
            4,
            (group, number) -> {
              group.append("y", 0);
              fill(group, number, number == row ? other : usual);
            });

    assertThatThrownBy(() -> Table.openParquet(file, Y))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageContaining("column \"x\"")
        .hasMessageMatching(".*(of another length|is missing).*");
  }

  @Test
  void labelsOfClassesAreNumbersOrWords() throws Exception {
    Path file =
        write(
            "required int32 x; required int32 code; required binary word (STRING); required boolean"
                + " is;",
            3,
            (group, row) ->
                group
                    .append("x", row)
                    .append("code", 2 - row)
                    .append("word", row == 1 ? "ant" : "bee")
                    .append("is", row == 0));

    Table codes = Table.openParquet(file, new TableColumns(List.of("code"), 3, List.of("x")));
    Table words = Table.openParquet(file, new TableColumns(List.of("2"), 2, List.of("0")));
    Table truths = Table.openParquet(file, new TableColumns(List.of("is"), 2, List.of("x")));

    assertThat(labels(codes)).isDeepEqualTo(new float[][] {{0, 0, 1}, {0, 1, 0}, {1, 0, 0}});
    assertThat(words.classes()).containsExactly("ant", "bee");
    assertThat(labels(words)).isDeepEqualTo(new float[][] {{0, 1}, {1, 0}, {0, 1}});
    assertThat(labels(truths)).isDeepEqualTo(new float[][] {{0, 1}, {1, 0}, {1, 0}});
    assertThatThrownBy(
            () -> Table.openParquet(file, new TableColumns(List.of("code"), 2, List.of("x"))))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("row 0, column \"code\" is 2.0. Labels of 2 classes");
    assertThatThrownBy(
            () -> Table.openParquet(file, new TableColumns(List.of("code"), 3, List.of())))
        .hasMessageContaining("column \"word\" is text. Name only columns of numbers.");
  }

  @Test
  void aTestTableIsReadLikeTheTrainingTable() throws Exception {
    Path file =
        write(
            "required int32 a; required binary y (STRING); required int32 b;",
            2,
            (group, row) -> group.append("a", row).append("y", "w" + row).append("b", 7));
    Table training = Table.openParquet(file, new TableColumns(List.of("y"), 2, List.of()));
    Path test = folder.resolve("test.parquet");
    String schema =
        "required int32 b; required double more; required int32 a; required binary y (STRING);";

    ParquetFiles.PLAIN.write(
        test,
        schema,
        1,
        (group, row) -> group.append("b", 1).append("more", 2.0).append("a", 3).append("y", "w1"));

    assertThat(features(training.openLike(test))).isDeepEqualTo(new float[][] {{3, 1}});
    assertThat(labels(training.openLike(test))).isDeepEqualTo(new float[][] {{0, 1}});
    ParquetFiles.PLAIN.write(
        folder.resolve("unknown"),
        schema,
        1,
        (group, row) -> group.append("b", 1).append("more", 2.0).append("a", 3).append("y", "w2"));
    assertThatThrownBy(() -> training.openLike(folder.resolve("unknown")))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("row 0, column \"y\" is \"w2\", which is none of the classes");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "required group x { required float real; } | nested",
        "optional group x (MAP) { repeated group key_value { required int32 key; required int32"
            + " value; } } | nested",
        "required group x (LIST) { repeated group list { required group element (LIST) { repeated"
            + " group list { required int32 element; } } } } | nested",
        "required int64 x (TIMESTAMP(MILLIS, true)); | INT64 (TIMESTAMP)",
        "required int32 x (DATE); | INT32 (DATE)",
        "required int32 x (DECIMAL(9, 2)); | INT32 (DECIMAL)",
        "required int96 x; | INT96",
        "required binary x; | BYTE_ARRAY",
        "required fixed_len_byte_array(2) x (FLOAT16); | FIXED_LEN_BYTE_ARRAY (FLOAT16)",
        "required binary x (STRING); | text",
      })
  void otherTypesAreRefusedOnlyWhereTheyAreNamed(String x, String type) throws Exception {
    Path file = write(x + " required int32 y; required int32 z;", 0, (group, row) -> {});
    Path filled = folder.resolve("filled");
    assertThatThrownBy(() -> Table.openParquet(file, X_TO_Y)).hasMessageContaining("has 0 rows");

    ParquetFiles.PLAIN.write(
        filled,
        x.replace("required", "optional")
                .replace(
                    "repeated group key_value { optional int32 key",
                    "repeated group key_value { required int32 key")
            + " required int32 y; required int32 z;",
        1,
        (group, row) -> group.append("y", 5).append("z", 6));

    assertThatThrownBy(() -> Table.openParquet(filled, X_TO_Y))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("filled, column \"x\" is " + type + ".");
    assertThat(features(Table.openParquet(filled, new TableColumns(List.of("y"), 0, List.of("z")))))
        .isDeepEqualTo(new float[][] {{6}});
  }

  @Test
  void nullsAndInfiniteNumbersAreRefusedWithTheirRow() throws Exception {
    String schema = "optional double x; required int32 y;";
    Path missing =
        write(
            schema,
            900,
            (group, row) -> {
              group.append("y", row);
              if (row != 777) {
                group.append("x", (double) row);
              }
            });
    assertThatThrownBy(() -> Table.openParquet(missing, X_TO_Y))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("table.parquet, row 777, column \"x\" is missing. Fill it in");
    for (double bad : new double[] {Double.NaN, Double.NEGATIVE_INFINITY, 1e300}) {
      Path file =
          ParquetFiles.PLAIN.write(
              folder.resolve("bad" + bad),
              schema,
              2,
              (group, row) -> group.append("y", row).append("x", row == 1 ? bad : 0.0));
      assertThatThrownBy(() -> Table.openParquet(file, X_TO_Y))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("row 1, column \"x\" is " + bad + ", no finite float");
    }
  }

  @Test
  void encryptedFilesAndColumnsAreRefused() throws Exception {
    ColumnPath x = ColumnPath.get("x");
    FileEncryptionProperties whole = FileEncryptionProperties.builder(KEY).build();
    FileEncryptionProperties column =
        FileEncryptionProperties.builder(KEY)
            .withPlaintextFooter()
            .withEncryptedColumns(
                Map.of(x, ColumnEncryptionProperties.builder(x).withKey(KEY).build()))
            .build();
    ParquetFiles.Row content =
        (group, row) -> group.append("x", 1.0f).append("y", 2f).append("z", 3f);
    String schema = "repeated float x; required float y; required float z;";
    Path closed = snappy(whole).write(folder.resolve("closed"), schema, 3, content);
    Path half = snappy(column).write(folder.resolve("half"), schema, 3, content);

    assertThatThrownBy(() -> Table.openParquet(closed, X_TO_Y))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("closed is encrypted. Write it without encryption.");
    assertThatThrownBy(() -> Table.openParquet(half, X_TO_Y))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("half, column \"x\" is encrypted. Write it without encryption.");
    assertThat(features(Table.openParquet(half, new TableColumns(List.of("y"), 0, List.of("z")))))
        .isDeepEqualTo(new float[][] {{3}, {3}, {3}});
  }

  private static ParquetFiles snappy(@Nullable FileEncryptionProperties how) {
    return new ParquetFiles(CompressionCodecName.SNAPPY, WriterVersion.PARQUET_1_0, true, how);
  }

  @ParameterizedTest
  @EnumSource(names = {"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "LZ4_RAW"})
  void damageIsFoundWhereverItIs(CompressionCodecName codec) throws Exception {
    Path whole =
        new ParquetFiles(codec, WriterVersion.PARQUET_2_0, true, null)
            .write(
                folder.resolve("whole"),
                "required double x; optional int32 y; required binary z (STRING);",
                150,
                (group, row) ->
                    group.append("x", Math.sqrt(row)).append("y", row % 7).append("z", "z"));
    byte[] content = Files.readAllBytes(whole);
    Path file = folder.resolve("damaged");
    float[][] expected = features(Table.openParquet(whole, X_TO_Y));
    Random random = new Random(codec.name().hashCode());
    for (int trial = 0; trial < 60; trial++) {
      byte[] damaged = content.clone();
      int place = random.nextInt(content.length);
      damaged[place] ^= (byte) (1 << random.nextInt(8));
      Files.write(file, trial % 4 == 0 ? Arrays.copyOf(content, place) : damaged);

      Throwable failure = catchThrowable(() -> requireSame(file, expected));

      if (failure != null) {
        assertThat(failure)
            .as("byte %d of %d, trial %d", place, content.length, trial)
            .isInstanceOf(IOException.class)
            .hasMessageStartingWith(file.toString());
      }
    }
  }

  /** Damage may lie where nobody reads: in another column, or in statistics. */
  private static void requireSame(Path file, float[][] expected) throws IOException {
    assertThat(features(Table.openParquet(file, X_TO_Y))).isDeepEqualTo(expected);
  }

  @Test
  void otherFilesAreRefused() throws Exception {
    Path text = Files.writeString(folder.resolve("text"), "a,b\n1,2\n3,4\n");
    Path few = Files.writeString(folder.resolve("few"), "PAR1");

    assertThatThrownBy(() -> Table.openParquet(text, X_TO_Y))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("cut off, or no Parquet file: it does not end in PAR1");
    assertThatThrownBy(() -> Table.openParquet(few, X_TO_Y))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("no Parquet file: it has 4 bytes");
  }

  /** What tests write files with is not there for users. */
  @Test
  void filesAreReadWithoutHadoop() throws Exception {
    Path file =
        snappy(null)
            .write(
                folder.resolve("snappy"),
                "required float x; required binary y (STRING);",
                300,
                (group, row) -> group.append("x", 0.5f).append("y", row % 2 == 0 ? "a" : "b"));
    List<URL> withoutHadoop = new ArrayList<>();
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
      if (!entry.matches(".*(hadoop|jts-core|parquet-jackson|snappy-java|zstd-jni).*")) {
        withoutHadoop.add(Path.of(entry).toUri().toURL());
      }
    }
    try (URLClassLoader classes =
        new URLClassLoader(
            withoutHadoop.toArray(URL[]::new), ClassLoader.getPlatformClassLoader())) {
      Class<?> columns = classes.loadClass(TableColumns.class.getName());
      Class<?> table = classes.loadClass(Table.class.getName());

      Object found =
          table
              .getMethod("openParquet", Path.class, columns)
              .invoke(
                  null,
                  file,
                  columns
                      .getConstructor(List.class, int.class, List.class)
                      .newInstance(List.of("y"), 2, List.of()));

      assertThat(table.getMethod("count").invoke(found)).isEqualTo(300);
      assertThat(table.getMethod("classes").invoke(found)).isEqualTo(List.of("a", "b"));
      assertThatThrownBy(() -> classes.loadClass("org.apache.hadoop.conf.Configuration"))
          .isInstanceOf(ClassNotFoundException.class);
    }
  }
}
