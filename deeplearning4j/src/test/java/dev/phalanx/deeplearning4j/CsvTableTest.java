package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.deeplearning4j.CsvOptions.Header;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class CsvTableTest {
  private static final TableColumns SPECIES = new TableColumns(List.of("species"), 3, List.of());
  private static final TableColumns LAST_OF_3 = new TableColumns(List.of("2"), 2, List.of());

  @TempDir private Path folder = Path.of("");

  private Path write(String name, String text) throws IOException {
    return Files.writeString(folder.resolve(name), text);
  }

  private Table open(String text, TableColumns columns) throws IOException {
    return Table.openCsv(write("table.csv", text), columns, CsvOptions.DEFAULT);
  }

  private static float[][] features(Samples table) {
    return table.read(IntStream.range(0, table.count()).toArray()).getFeatures().toFloatMatrix();
  }

  private static float[][] labels(Samples table) {
    return table.read(IntStream.range(0, table.count()).toArray()).getLabels().toFloatMatrix();
  }

  @Test
  void wordsAreClassesInTheirSortedOrder() throws Exception {
    Table table = open("length,species,width\n1,dog,2\n3,cat,4\n5,dog,6\n", SPECIES);

    assertThat(table.count()).isEqualTo(3);
    assertThat(table.featureCount()).isEqualTo(2);
    assertThat(table.labelCount()).isEqualTo(3);
    assertThat(table.classes()).containsExactly("cat", "dog", "2");
    assertThat(features(table)).isDeepEqualTo(new float[][] {{1, 2}, {3, 4}, {5, 6}});
    assertThat(labels(table)).isDeepEqualTo(new float[][] {{0, 1, 0}, {1, 0, 0}, {0, 1, 0}});
  }

  @Test
  void numbersAreTheirOwnClasses() throws Exception {
    Table table = open("1,2,1\n3,4,0.0\n", LAST_OF_3);

    assertThat(table.classes()).containsExactly("0", "1");
    assertThat(labels(table)).isDeepEqualTo(new float[][] {{0, 1}, {1, 0}});
  }

  @Test
  void severalLabelsAreNumbersToPredict() throws Exception {
    Table table =
        open(
            "a,b,c,d\n1,2,3,4\n5,6,7,8e-1\n", new TableColumns(List.of("d", "b"), 0, List.of("c")));

    assertThat(table.classes()).isEmpty();
    assertThat(table.labelCount()).isEqualTo(2);
    assertThat(features(table)).isDeepEqualTo(new float[][] {{3}, {7}});
    assertThat(labels(table)).isDeepEqualTo(new float[][] {{4, 2}, {0.8f, 6}});
  }

  @Test
  void quotesByteOrderMarksEmptyLinesAndSpacesAreOfTheFormat() throws Exception {
    String text =
        "\uFEFF\"sp;ecies\";\"say \"\"x\"\"\"\r\n\r\n\"big; cat\";\"1\"\r\n dog ; 2 \r\n\r\n";
    TableColumns columns = new TableColumns(List.of("sp;ecies"), 2, List.of("say \"x\""));
    Path file = write("table.csv", text);

    Table table = Table.openCsv(file, columns, new CsvOptions(';', Header.AUTO));

    assertThat(table.classes()).containsExactly("big; cat", "dog");
    assertThat(features(table)).isDeepEqualTo(new float[][] {{1}, {2}});
  }

  @ParameterizedTest
  @CsvSource({
    "AUTO, 'x,y,z', 1",
    "AUTO, ',y,z', 1",
    "AUTO, '7,8,z', 2",
    "YES, '7,y,1', 1",
    "YES, 'NA,?,1', 1",
    "NO, '7,8,1', 2"
  })
  void aHeaderIsWhereFeaturesAreWords(Header header, String first, int rows) throws Exception {
    String label = first.endsWith("z") ? "cat" : "0";
    Path file = write("table.csv", first + "\n1,2," + label + "\n");

    Table table = Table.openCsv(file, LAST_OF_3, new CsvOptions(',', header));

    assertThat(table.count()).isEqualTo(rows);
  }

  /** Or the first sample of a file without a header would be lost, and nobody told. */
  @ParameterizedTest
  @CsvSource({
    "'7,y,1', 1, '\"y\", no finite number'",
    "'x,8,1', 0, '\"x\", no finite number'",
    "'NA,8,1', 0, '\"NA\", no finite number'",
    "'NA,?,1', 0, '\"NA\", no finite number'",
    "'NaN,inf,1', 0, '\"NaN\", no finite number'",
    "'-Infinity,NULL,1', 0, '\"-Infinity\", no finite number'",
    "'-,N/A,1', 0, '\"-\", no finite number'",
    "'1e39,y,1', 0, '\"1e39\", no finite number'",
    "',,1', 0, empty",
    "',8,1', 0, empty"
  })
  void aFirstLineWithANumberOrWithoutAWordIsASample(String first, int column, String what)
      throws Exception {
    Path file = write("table.csv", first + "\n1,2,0\n");

    assertThatThrownBy(() -> Table.openCsv(file, LAST_OF_3, CsvOptions.DEFAULT))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith(file + ", line 1, column " + column + " is " + what)
        .hasMessageContaining(" If the line is a header, say so: 'header: yes' in a plan");
    assertThatThrownBy(() -> Table.openCsv(file, LAST_OF_3, new CsvOptions(',', Header.NO)))
        .hasMessageContaining(" is " + what)
        .hasMessageEndingWith("name only columns of numbers.");
  }

  @Test
  void aLaterLineIsNoHeader() throws Exception {
    assertThatThrownBy(() -> open("1,2,0\n3,y,1\n", LAST_OF_3))
        .hasMessageContaining("line 2, column 1 is \"y\", no finite number")
        .hasMessageEndingWith("name only columns of numbers.");
  }

  @Test
  void aHeaderOfNumbersIsOneWhereItIsSaidToBe() throws Exception {
    Path file = write("table.csv", "2,0,1\n1,5,6\n");

    Table table = Table.openCsv(file, LAST_OF_3, new CsvOptions(',', Header.YES));

    assertThat(labels(table)).isDeepEqualTo(new float[][] {{0, 1}}); // by name before number
    assertThat(features(table)).isDeepEqualTo(new float[][] {{5, 6}});
  }

  @Test
  void aTestTableIsReadLikeTheTrainingTable() throws Exception {
    Table training = open("length,species,width\n1,dog,2\n3,cat,4\n", SPECIES);

    Table test = training.openLike(write("test.csv", "width,id,length,species\n8,x,7,dog\n"));

    assertThat(features(test)).isDeepEqualTo(new float[][] {{7, 8}});
    assertThat(labels(test)).isDeepEqualTo(new float[][] {{0, 1, 0}});
    assertThat(test.classes()).isEqualTo(training.classes());
    assertThat(test.openLike(write("again.csv", "species,width,length\ncat,1,2\n")).count())
        .isEqualTo(1);
    assertThatThrownBy(
            () -> training.openLike(write("lion.csv", "length,species,width\n1,lion,2\n")))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("lion.csv, line 2, column \"species\" is \"lion\"")
        .hasMessageContaining("none of the classes of the training table: cat, dog.");
    assertThatThrownBy(() -> training.openLike(write("other.csv", "length,species\n1,dog\n")))
        .hasMessageContaining("has no column \"width\". It has length, species.");
    assertThatThrownBy(() -> training.openLike(write("code.csv", "length,species,width\n1,0,2\n")))
        .hasMessageContaining("Labels are numbers or words, not both");
  }

  @Test
  void aTestTableOfNumbersIsReadByPlaceWithoutNames() throws Exception {
    Table training = open("1,2,1\n3,4,0\n", LAST_OF_3);

    Table test = training.openLike(write("test.csv", "x,y,z\n5,6,0\n"));

    assertThat(features(test)).isDeepEqualTo(new float[][] {{5, 6}});
    assertThat(labels(test)).isDeepEqualTo(new float[][] {{1, 0}});
    assertThatThrownBy(() -> training.openLike(write("few.csv", "1,2\n")))
        .hasMessageContaining("few.csv has no column \"2\"");
    assertThatThrownBy(() -> training.openLike(write("word.csv", "1,2,cat\n")))
        .hasMessageContaining("word.csv, line 1, column 2 is \"cat\"")
        .hasMessageContaining("not both");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "'' | is empty.",
        "a,species | has no line after its header",
        "a,species\\n1,cat\\n,dog | line 3, column \"a\" is empty",
        "a,species\\n1,cat\\n\\nx y,dog | line 4, column \"a\" is \"x y\", no finite number",
        "a,species\\n1,cat\\nNaN,dog | line 3, column \"a\" is \"NaN\", no finite number",
        "a,species\\n1e39,cat | line 2, column \"a\" is \"1e39\", no finite number",
        "a,species\\n1d,cat | line 2, column \"a\" is \"1d\", no finite number",
        "a,species\\n0x1p3,cat | line 2, column \"a\" is \"0x1p3\", no finite number",
        "a,species\\n1,cat,2 | line 2 has 3 columns, where the first line has 2",
        "a,species\\n1 | line 2 has 1 columns, where the first line has 2",
        "a,species\\n1, | line 2, column \"species\" has no label",
        "a,species\\n"
            + "1,3 | line 2, column \"species\" is 3. Labels of 3 classes are whole numbers from 0"
            + " to 2",
        "a,species\\n1,-1 | column \"species\" is -1. Labels of 3",
        "a,species\\n1,0.5 | column \"species\" is 0.5. Labels of 3",
        "a,species\\n"
            + "1,w\\n"
            + "1,x\\n"
            + "1,y\\n"
            + "1,z | line 5, column \"species\" is \"z\", a label more than there are classes",
        "a,species\\n"
            + "1,0\\n"
            + "1,cat | line 3, column \"species\" is \"cat\" where other labels are such as \"0\"",
        "a,species\\n"
            + "1,cat\\n"
            + "1,0 | line 3, column \"species\" is \"0\" where other labels are such as \"cat\"",
        "a,b\\n1,2 | has no column \"species\". It has a, b.",
        "species\\ncat | has no column beside the labels",
        "species,species,a\\ncat,cat,1 | has the column \"species\" more than once",
        "a,species\\n\"1,cat | is damaged",
        "a,species\\n\"1\"x,cat | is damaged",
      })
  void whatCannotBeReadIsSaidWithItsPlace(String text, String message) throws Exception {
    Path file = write("table.csv", text.replace("\\n", "\n"));

    assertThatThrownBy(() -> Table.openCsv(file, SPECIES, CsvOptions.DEFAULT))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageContaining(message);
  }

  @Test
  void otherEncodingsAreRefused() throws Exception {
    Path file = folder.resolve("latin1.csv");
    Files.write(file, "a,species\n1,b\u00e4r\n".getBytes(StandardCharsets.ISO_8859_1));

    assertThatThrownBy(() -> Table.openCsv(file, SPECIES, CsvOptions.DEFAULT))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("is no text in UTF-8");
  }

  @Test
  void namesNeedAHeader() throws Exception {
    Path file = write("table.csv", "1,2,cat\n");

    assertThatThrownBy(() -> Table.openCsv(file, SPECIES, new CsvOptions(',', Header.NO)))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(
            "has no column \"species\". It has no names, and the numbers 0 to 2.");
  }

  @Test
  void aColumnIsOneThing() throws Exception {
    Path file = write("table.csv", "a,b\n1,2\n");
    TableColumns twice = new TableColumns(List.of("a"), 0, List.of("b", "0"));

    assertThatThrownBy(() -> Table.openCsv(file, twice, CsvOptions.DEFAULT))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("are the same column twice");
    assertThatThrownBy(() -> new TableColumns(List.of("a"), 0, List.of("a")))
        .hasMessageContaining("\"a\" is named twice");
    assertThatThrownBy(() -> new TableColumns(List.of("a", "b"), 2, List.of()))
        .hasMessageContaining("one column of labels, not 2");
    assertThatThrownBy(() -> new TableColumns(List.of(), 0, List.of()))
        .hasMessageContaining("needs a column of labels");
    assertThatThrownBy(() -> new TableColumns(List.of("a"), 1, List.of()))
        .hasMessageContaining("2 classes or more");
  }

  @ParameterizedTest
  @ValueSource(chars = {'"', '\n', '\r'})
  void aDelimiterIsNoPartOfTheFormat(char delimiter) {
    assertThatThrownBy(() -> new CsvOptions(delimiter, Header.AUTO))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
