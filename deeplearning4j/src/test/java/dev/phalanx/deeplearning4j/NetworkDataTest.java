package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.data.DataException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nd4j.linalg.api.ndarray.INDArray;

/** What a plan's data section gives to train on and to hold out. */
final class NetworkDataTest {
  private static final int ROWS = 90;

  @TempDir private Path folder = Path.of("");

  /** Sorted by class, as tables often are. */
  @BeforeEach
  void writeTable() throws IOException {
    StringBuilder rows = new StringBuilder("x,y,kind\n");
    for (int row = 0; row < ROWS; row++) {
      rows.append(row).append(',').append(-2 * row).append(',').append(row / 30).append('\n');
    }
    Files.writeString(folder.resolve("train.csv"), rows);
    Files.writeString(folder.resolve("test.csv"), "kind,y,x\n1,-4,2\n");
  }

  private NetworkData open(String data, String evaluation) throws IOException {
    JobConfig job =
        JobConfigParser.parse(
                "plan",
                """
                model: {family: deeplearning4j, path: n.zip}
                data: %s
                batch: {global: 8}
                steps: 1
                evaluation: %s
                """
                    .formatted(data, evaluation))
            .config();
    return NetworkData.open(job, folder);
  }

  private static final String TABLE = "{kind: csv, path: train.csv, label: kind, classes: 3}";

  @Test
  void nothingIsHeldOutUnlessAskedFor() throws IOException {
    NetworkData data = open(TABLE, "{every: 0}");
    assertThat(data.training().count()).isEqualTo(ROWS);
    assertThat(data.heldOut()).isEmpty();
  }

  @Test
  void whatIsHeldOutIsOfAllClassesAndNotTrainedOn() throws IOException {
    NetworkData data = open(TABLE, "{every: 1, fraction: 0.3}");
    Samples heldOut = data.heldOut().orElseThrow();
    Set<Double> features = new HashSet<>();
    for (Samples part : new Samples[] {data.training(), heldOut}) {
      INDArray all = part.read(IntStream.range(0, part.count()).toArray()).getFeatures();
      for (int row = 0; row < part.count(); row++) {
        assertThat(features.add(all.getDouble(row, 0))).isTrue();
      }
    }
    assertThat(features).hasSize(ROWS);
    assertThat(heldOut.count()).isEqualTo(27);
    INDArray ofClasses = heldOut.read(NetworkData.numbers(0, 27)).getLabels().sum(0);
    assertThat(ofClasses.minNumber().intValue()).isPositive();
    assertThatThrownBy(() -> open(TABLE, "{every: 1, fraction: 0.999}"))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("leaves none to train on");
  }

  @Test
  void aTestFileHasItsColumnsByName() throws IOException {
    NetworkData data = open(TABLE.replace("}", ", test: test.csv}"), "{every: 0}");
    Samples heldOut = data.heldOut().orElseThrow();
    assertThat(heldOut.read(0).getFeatures().toDoubleVector()).containsExactly(2, -4);
    assertThat(heldOut.read(0).getLabels().toDoubleVector()).containsExactly(0, 1, 0);
  }

  @Test
  void normalizationIsThatOfTheTrainingSamples() throws IOException {
    NetworkData.Normalized data =
        open(TABLE.replace("}", ", normalize: minmax, test: test.csv}"), "{every: 0}").normalized();
    INDArray all = data.training().read(NetworkData.numbers(0, ROWS)).getFeatures();
    assertThat(all.minNumber().doubleValue()).isZero();
    assertThat(all.maxNumber().doubleValue()).isEqualTo(1);
    assertThat(data.heldOut().orElseThrow().read(0).getFeatures().toDoubleVector())
        .containsExactly(
            new double[] {2 / 89.0, 87 / 89.0}, org.assertj.core.data.Offset.offset(1e-6));
    assertThat(data.normalizer()).isPresent();
  }

  /** Of a size that ND4J's own epsilon is lost beside. */
  @ParameterizedTest
  @CsvSource({"2021", "-2021", "0.5", "1.7e9", "0"})
  void aFeatureThatIsAlwaysTheSameBecomesZero(String value) throws IOException {
    StringBuilder rows = new StringBuilder("x,y,kind\n");
    for (int row = 0; row < ROWS; row++) {
      rows.append(value).append(',').append(row).append(',').append(row / 30).append('\n');
    }
    Files.writeString(folder.resolve("train.csv"), rows);
    INDArray all =
        open(TABLE.replace("}", ", normalize: minmax}"), "{every: 0}")
            .normalized()
            .training()
            .read(NetworkData.numbers(0, ROWS))
            .getFeatures();
    assertThat(all.getColumn(0).toDoubleVector()).containsOnly(0);
    assertThat(all.getColumn(1).maxNumber().doubleValue()).isEqualTo(1);
  }

  @Test
  void aDamagedFileIsNamedWithTheKeyThatNamesIt() throws IOException {
    Files.writeString(folder.resolve("test.csv"), "kind,y,x\n1,-4\n");
    assertThatThrownBy(() -> open(TABLE.replace("}", ", test: test.csv}"), "{every: 0}"))
        .isInstanceOfSatisfying(
            DataException.class,
            e -> {
              assertThat(e.keyPath()).isEqualTo("data.test");
              assertThat(e.kind()).isEqualTo(DataException.Kind.INPUT_OUTPUT);
            })
        .hasMessageContaining("test.csv, line 2");
    assertThatThrownBy(() -> open(TABLE.replace("label: kind", "label: sort"), "{every: 0}"))
        .isInstanceOfSatisfying(
            DataException.class, e -> assertThat(e.keyPath()).isEqualTo("data.label"));
  }

  @Test
  void aTableIsTheSameInParquet() throws IOException {
    ParquetFiles.PLAIN.write(
        folder.resolve("train.parquet"),
        "required int32 x; required double y; required int32 kind;",
        ROWS,
        (group, row) ->
            group.append("x", row).append("y", (double) (-2 * row)).append("kind", row / 30));
    String plan = TABLE.replace("csv, path: train.csv", "parquet, path: train.parquet");
    assertThat(PlannedOrder.of(open(plan, "{every: 0}").training(), 8, 1, 0))
        .isEqualTo(PlannedOrder.of(open(TABLE, "{every: 0}").training(), 8, 1, 0));
  }

  /** What the checksum of a plan's order is about. */
  @Test
  void anOrderIsThatOfItsSamples() throws IOException {
    Samples samples = open(TABLE, "{every: 0}").training();
    PlannedOrder order = PlannedOrder.of(samples, 8, 1, 0);
    assertThat(PlannedOrder.of(open(TABLE, "{every: 0}").training(), 8, 1, 0)).isEqualTo(order);
    Samples others = open(TABLE.replace("}", ", features: [y, x]}"), "{every: 0}").training();
    assertThat(PlannedOrder.of(others, 8, 1, 0).data()).isNotEqualTo(order.data());
  }

  /** One image of one pixel for each label. */
  private void writeImages(String part, int... labels) throws IOException {
    ByteBuffer images = ByteBuffer.allocate(16 + labels.length);
    images.putInt(0x803).putInt(labels.length).putInt(1).putInt(1);
    ByteBuffer classes = ByteBuffer.allocate(8 + labels.length);
    classes.putInt(0x801).putInt(labels.length);
    for (int label : labels) {
      classes.put((byte) label);
    }
    Files.write(folder.resolve(part + "-images-idx3-ubyte"), images.array());
    Files.write(folder.resolve(part + "-labels-idx1-ubyte"), classes.array());
  }

  @Test
  void imagesHaveTheClassesThatThePlanSays() throws IOException {
    writeImages("train", 0, 1, 2);
    writeImages("t10k", 3, 1);

    NetworkData data = open("{kind: idx, path: ., classes: 5}", "{every: 0}");

    assertThat(data.training().labelCount()).isEqualTo(5);
    assertThat(data.heldOut().orElseThrow().read(0).getLabels().toDoubleVector())
        .containsExactly(0, 0, 0, 1, 0);
    assertThat(open("{kind: idx, path: ., classes: 4}", "{every: 0}").training().classes())
        .as("as many as there are")
        .containsExactly("0", "1", "2", "3");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "', classes: 2' | a training image has the label 2, which is none of 2 classes; write"
            + " 'classes: 3'",
        "', classes: 3' | a test image has the label 3, which is none of 3 classes; write"
            + " 'classes: 4'",
        "''             | a test image has the label 3, which is none of 3 classes",
      })
  void aLabelBeyondTheClassesIsRefused(String classes, String message) throws IOException {
    writeImages("train", 0, 1, 2);
    writeImages("t10k", 3, 1);

    assertThatThrownBy(() -> open("{kind: idx, path: .%s}".formatted(classes), "{every: 0}"))
        .isInstanceOfSatisfying(
            DataException.class, e -> assertThat(e.keyPath()).isEqualTo("data.classes"))
        .hasMessageContaining(message);
  }
}
