package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.deeplearning4j.CsvOptions.Header;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.ShrinkingMode;
import net.jqwik.api.lifecycle.AfterTry;
import org.apache.parquet.column.ParquetProperties.WriterVersion;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.nd4j.linalg.dataset.DataSet;

/** Random tables come back bit for bit from whatever way they are written in. */
final class TableRoundTripTest {
  private static final CompressionCodecName[] CODECS = {
    CompressionCodecName.UNCOMPRESSED,
    CompressionCodecName.SNAPPY,
    CompressionCodecName.GZIP,
    CompressionCodecName.ZSTD,
    CompressionCodecName.LZ4_RAW
  };

  private final Path file;

  TableRoundTripTest() throws IOException {
    file = Files.createTempFile("table", "");
    Files.delete(file);
  }

  @AfterTry
  void delete() throws IOException {
    Files.deleteIfExists(file);
  }

  /** Rows of features and a word each. */
  @SuppressWarnings("ArrayRecordComponent")
  private record Rows(float[][] features, String[] words) {
    static Rows of(Random random, int mostRows) {
      int rows = 1 + random.nextInt(mostRows);
      int columns = 1 + random.nextInt(6);
      float[][] features = new float[rows][columns];
      String[] words = new String[rows];
      boolean isCoarse = random.nextBoolean(); // so that dictionaries are worth their while
      for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
          features[row][column] = isCoarse ? random.nextInt(9) / 8f : anyFloat(random);
        }
        words[row] = WORDS.get(random.nextInt(WORDS.size()));
      }
      return new Rows(features, words);
    }

    private static float anyFloat(Random random) {
      float any = Float.intBitsToFloat(random.nextInt());
      return Float.isFinite(any) ? any : 0;
    }

    int columns() {
      return features[0].length;
    }

    void requireAs(Table found) {
      List<String> classes = new ArrayList<>(new TreeSet<>(List.of(words)));
      DataSet all = found.read(IntStream.range(0, features.length).toArray());
      assertThat(found.classes()).startsWith(classes.toArray(String[]::new)).hasSize(WORDS.size());
      assertThat(all.getFeatures().toFloatMatrix()).isDeepEqualTo(features);
      for (int row = 0; row < words.length; row++) {
        assertThat(all.getLabels().getRow(row).toFloatVector())
            .isEqualTo(oneHot(classes.indexOf(words[row])));
      }
    }

    private static float[] oneHot(int code) {
      float[] columns = new float[WORDS.size()];
      columns[code] = 1;
      return columns;
    }
  }

  private static final List<String> WORDS = List.of("b", "a b", "c;,\td", "say \"e\"", "ü\nü");

  @Property(tries = 60, shrinking = ShrinkingMode.OFF)
  void csvInAnyStyle(@ForAll long seed) throws IOException {
    Random random = new Random(seed);
    Rows table = Rows.of(random, 30);
    char delimiter = ",;\t|".charAt(random.nextInt(4));
    String end = random.nextBoolean() ? "\r\n" : "\n";
    boolean hasHeader = random.nextBoolean();
    int labelPlace = random.nextInt(table.columns() + 1);
    StringBuilder text = new StringBuilder(random.nextBoolean() ? "\uFEFF" : "");
    if (hasHeader) {
      List<String> names = names(table.columns());
      names.add(labelPlace, "the label");
      text.append(String.join(Character.toString(delimiter), names)).append(end);
    }
    for (int row = 0; row < table.words().length; row++) {
      List<String> cells = new ArrayList<>();
      for (float feature : table.features()[row]) {
        cells.add(random.nextInt(9) == 0 ? "\"" + feature + "\"" : Float.toString(feature));
      }
      cells.add(labelPlace, "\"" + table.words()[row].replace("\"", "\"\"") + "\"");
      text.append(String.join(Character.toString(delimiter), cells));
      boolean isLast = row == table.words().length - 1;
      text.append(isLast && random.nextBoolean() ? "" : end.repeat(1 + random.nextInt(2)));
    }
    Files.writeString(file, text);
    TableColumns columns =
        new TableColumns(
            List.of(hasHeader ? "the label" : Integer.toString(labelPlace)),
            WORDS.size(),
            List.of());

    table.requireAs(Table.openCsv(file, columns, new CsvOptions(delimiter, Header.AUTO)));
  }

  private static List<String> names(int columns) {
    return IntStream.range(0, columns)
        .mapToObj(column -> "x" + column)
        .collect(Collectors.toCollection(ArrayList::new));
  }

  @Property(tries = 25, shrinking = ShrinkingMode.OFF)
  void parquetInAnyCodecAndVersion(@ForAll long seed) throws IOException {
    Random random = new Random(seed);
    Rows table = Rows.of(random, 500);
    List<String> names = names(table.columns());
    List<String> types =
        names.stream().map(name -> random.nextBoolean() ? "float" : "double").toList();
    String schema =
        "required binary word (STRING); "
            + IntStream.range(0, names.size())
                .mapToObj(
                    column ->
                        (random.nextBoolean() ? "required " : "optional ")
                            + types.get(column)
                            + " "
                            + names.get(column)
                            + "; ")
                .collect(Collectors.joining());
    new ParquetFiles(
            CODECS[random.nextInt(CODECS.length)],
            random.nextBoolean() ? WriterVersion.PARQUET_1_0 : WriterVersion.PARQUET_2_0,
            random.nextBoolean(),
            null)
        .write(
            file,
            schema,
            table.words().length,
            (group, row) -> {
              group.append("word", table.words()[row]);
              for (int column = 0; column < names.size(); column++) {
                float value = table.features()[row][column];
                if (types.get(column).equals("float")) {
                  group.append(names.get(column), value);
                } else {
                  group.append(names.get(column), (double) value);
                }
              }
            });
    TableColumns columns = new TableColumns(List.of("word"), WORDS.size(), List.of());

    table.requireAs(Table.openParquet(file, columns));
  }
}
