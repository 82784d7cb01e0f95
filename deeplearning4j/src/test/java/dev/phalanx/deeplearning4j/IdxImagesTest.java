package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.deeplearning4j.IdxImages.Part;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;

final class IdxImagesTest {
  private static final int COUNT = 7;

  @TempDir private Path folder = Path.of("");

  /** Image i has the pixels i, i + 1, …, and the label i modulo 3. */
  private Path images(boolean isZipped) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream output = new DataOutputStream(bytes);
    output.writeInt(0x803);
    output.writeInt(COUNT);
    output.writeInt(2);
    output.writeInt(3);
    for (int image = 0; image < COUNT; image++) {
      for (int pixel = 0; pixel < 6; pixel++) {
        output.writeByte(image + pixel + 200);
      }
    }
    return write(isZipped ? "images.gz" : "images", bytes.toByteArray(), isZipped);
  }

  private Path labels(int count) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream output = new DataOutputStream(bytes);
    output.writeInt(0x801);
    output.writeInt(count);
    for (int image = 0; image < count; image++) {
      output.writeByte(image % 3);
    }
    return write("labels", bytes.toByteArray(), false);
  }

  private Path write(String name, byte[] content, boolean isZipped) throws IOException {
    Path file = folder.resolve(name);
    if (isZipped) {
      try (GZIPOutputStream output = new GZIPOutputStream(Files.newOutputStream(file))) {
        output.write(content);
      }
    } else {
      Files.write(file, content);
    }
    return file;
  }

  @Test
  void pixelsAndLabelsAreReadPlainAndZipped() throws Exception {
    for (boolean isZipped : new boolean[] {false, true}) {
      IdxImages found = IdxImages.open(images(isZipped), labels(COUNT));
      assertThat(found.count()).isEqualTo(COUNT);
      assertThat(found.labelCount()).isEqualTo(3);
      assertThat(found.classes()).containsExactly("0", "1", "2");

      DataSetIterator batches = found.batches(5);
      DataSet first = batches.next();
      assertThat(first.getFeatures().shape()).containsExactly(5, 6);
      assertThat(first.getFeatures().getFloat(4, 5)).isEqualTo(209f / 255);
      assertThat(first.getLabels().toFloatMatrix()[4]).containsExactly(0, 1, 0);
      assertThat(batches.next().numExamples()).isEqualTo(2);
      assertThat(batches.hasNext()).isFalse();
    }
  }

  @Test
  void imagesHaveTheirRowsAndColumnsWhereThatIsAskedFor() throws Exception {
    IdxImages flat = IdxImages.open(images(false), labels(COUNT));
    Samples found = flat.asImages();

    DataSet read = found.read(4, 2);
    assertThat(read.getFeatures().shape()).containsExactly(2, 1, 2, 3);
    assertThat(read.getFeatures().getFloat(0, 0, 1, 2)).isEqualTo(209f / 255);
    assertThat(read.getLabels()).isEqualTo(flat.read(4, 2).getLabels());
    assertThat(found.range(1, 3).batches(2).next().getFeatures().shape())
        .containsExactly(2, 1, 2, 3);
    INDArray features = read.getFeatures();
    new Batch(read).close();
    assertThat(features.wasClosed()).as("freed as flat ones are").isTrue();
  }

  @Test
  void eachEpochHasAnOrderOfItsOwnThatComesAgain() throws Exception {
    IdxImages found = IdxImages.open(images(false), labels(COUNT));
    AtomicInteger epoch = new AtomicInteger();
    DataSetIterator batches = found.shuffledBatches(2, 1, epoch::get);

    List<Integer> first = order(batches);
    epoch.set(1);
    batches.reset();
    List<Integer> second = order(batches);
    epoch.set(0);
    batches.reset();

    assertThat(first).containsExactlyInAnyOrder(0, 1, 2, 3, 4, 5, 6).isNotEqualTo(second);
    assertThat(second).containsExactlyInAnyOrderElementsOf(first);
    assertThat(order(batches)).isEqualTo(first);
  }

  private static List<Integer> order(DataSetIterator batches) {
    List<Integer> images = new ArrayList<>();
    while (batches.hasNext()) {
      DataSet batch = batches.next();
      for (int sample = 0; sample < batch.numExamples(); sample++) {
        images.add(Math.round(batch.getFeatures().getFloat(sample, 0) * 255) - 200);
      }
    }
    return images;
  }

  @Test
  void damagedFilesAreRefusedWithASentence() throws Exception {
    Path images = images(false);
    Path few = labels(COUNT - 1);
    assertThatThrownBy(() -> IdxImages.open(images, few))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("6 labels")
        .hasMessageContaining("7 images");
    assertThatThrownBy(() -> IdxImages.open(few, few))
        .hasMessageContaining("no idx file of images");

    byte[] content = Files.readAllBytes(images);
    Path cut = write("cut", Arrays.copyOf(content, content.length - 1), false);
    assertThatThrownBy(() -> IdxImages.open(cut, few)).hasMessageContaining("41 of 42 bytes");
    Path whole = images(true);
    Path zipped = folder.resolve("cut.gz");
    byte[] stream = Files.readAllBytes(whole);
    Files.write(zipped, Arrays.copyOf(stream, stream.length - 12));
    assertThatThrownBy(() -> IdxImages.open(zipped, few))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("cut.gz is cut off or damaged");
    byte[] longer = Arrays.copyOf(content, content.length + 1);
    for (String name : List.of("long", "long.gz")) {
      Path more = write(name, longer, name.endsWith(".gz"));
      assertThatThrownBy(() -> IdxImages.open(more, few))
          .isInstanceOf(IOException.class)
          .hasMessageStartingWith(more.toString())
          .hasMessageContaining("more bytes than the 42 that its header says");
    }
    Path plain = write("plain.gz", content, false);
    assertThatThrownBy(() -> IdxImages.open(plain, few))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("plain.gz is no gzip file");
    byte[] huge = content.clone(); // 2^31 - 1 images of as many rows and columns
    for (int size = 4; size < 16; size++) {
      huge[size] = (byte) (size % 4 == 0 ? 0x7f : 0xff);
    }
    Path claiming = write("claiming", huge, false);
    assertThatThrownBy(() -> IdxImages.open(claiming, few))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("more than an array can hold");
    Path stub = write("stub", Arrays.copyOf(content, 6), false);
    assertThatThrownBy(() -> IdxImages.open(stub, few)).hasMessageContaining("within its header");
  }

  /** A stream ends with its checksum and its length, of four bytes each, after the content. */
  @ParameterizedTest
  @ValueSource(ints = {1, 4, 5, 8})
  void aGzipStreamThatDoesNotHaveItsChecksumIsDamaged(int fromItsEnd) throws Exception {
    Path file = images(true);
    Path labels = labels(COUNT);
    byte[] stream = Files.readAllBytes(file);
    stream[stream.length - fromItsEnd] ^= 1;
    Files.write(file, stream);

    assertThatThrownBy(() -> IdxImages.open(file, labels))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("images.gz is cut off or damaged")
        .hasMessageContaining("checksum");
  }

  @Test
  void aGzipStreamThatIsDamagedAtItsStartIsNamed() throws Exception {
    Path file = images(true);
    Path labels = labels(COUNT);
    byte[] stream = Files.readAllBytes(file);
    stream[10] = (byte) 0xff; // the first after gzip's own header
    Files.write(file, stream);

    assertThatThrownBy(() -> IdxImages.open(file, labels))
        .hasMessageContaining("images.gz is cut off or damaged");
  }

  @ParameterizedTest
  @CsvSource({"-, false, -", "-, true, -", "., false, -", "-, true, ."})
  void aFolderIsReadByMnistsNames(String images, boolean isZipped, String labels) throws Exception {
    Path content = images(isZipped);
    String ending = isZipped ? ".gz" : "";
    for (String part : new String[] {"train", "t10k"}) {
      Files.copy(content, folder.resolve(part + "-images" + images + "idx3-ubyte" + ending));
    }
    Files.copy(labels(COUNT), folder.resolve("train-labels" + labels + "idx1-ubyte"));

    assertThat(IdxImages.openFolder(folder, Part.TRAIN).count()).isEqualTo(COUNT);
    assertThatThrownBy(() -> IdxImages.openFolder(folder, Part.TEST))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith(folder.toString())
        .hasMessageContaining(
            "neither t10k-labels-idx1-ubyte nor t10k-labels.idx1-ubyte, with or without .gz");
  }

  @Test
  void aTestSetMayHaveFewerClassesThanTheNetwork() throws Exception {
    IdxImages found = IdxImages.open(images(false), labels(COUNT));

    IdxImages wider = found.withClasses(5);

    assertThat(wider.labelCount()).isEqualTo(5);
    assertThat(wider.classes()).hasSize(5);
    assertThat(wider.read(4).getLabels().toFloatVector()).containsExactly(0, 1, 0, 0, 0);
    assertThat(wider.read(4).getFeatures()).isEqualTo(found.read(4).getFeatures());
    assertThatThrownBy(() -> found.withClasses(2)).hasMessageContaining("label 2");
    assertThatThrownBy(() -> found.read(COUNT)).isInstanceOf(IndexOutOfBoundsException.class);
  }
}
