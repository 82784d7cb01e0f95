package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.BadCheckpointException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.util.ModelSerializer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.dataset.api.preprocessor.NormalizerStandardize;

/** The file that a plan's model.path names. */
final class NetworkFileTest {
  private static final AtomicBoolean IS_SPRUNG = new AtomicBoolean();

  @TempDir private Path folder = Path.of("");

  /** Does something when it is read. */
  private static final class Trap implements DataSetPreProcessor {
    private static final long serialVersionUID = 1L;

    private void readObject(ObjectInputStream input) throws IOException, ClassNotFoundException {
      input.defaultReadObject();
      IS_SPRUNG.set(true);
    }

    @Override
    public void preProcess(org.nd4j.linalg.dataset.api.DataSet samples) {}
  }

  @BeforeEach
  void setTheTrap() {
    IS_SPRUNG.set(false);
  }

  private Path write(Model network) throws IOException {
    Path file = folder.resolve("network.zip");
    ModelSerializer.writeModel(network, file.toFile(), true);
    return file;
  }

  /** With one entry more, at the end. */
  private Path with(Path zip, String name, byte[] content) throws IOException {
    Path file = folder.resolve("more.zip");
    try (ZipInputStream input = new ZipInputStream(Files.newInputStream(zip));
        ZipOutputStream output = new ZipOutputStream(Files.newOutputStream(file))) {
      for (ZipEntry entry = input.getNextEntry(); entry != null; entry = input.getNextEntry()) {
        output.putNextEntry(new ZipEntry(entry.getName()));
        input.transferTo(output);
      }
      output.putNextEntry(new ZipEntry(name));
      output.write(content);
    }
    return file;
  }

  private static byte[] trap() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream output = new ObjectOutputStream(bytes)) {
      output.writeObject(new Trap());
    }
    return bytes.toByteArray();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void whatJavasSerializationWouldReadIsRefusedUnread(boolean isGraph) throws IOException {
    Model network = isGraph ? Networks.singleGraph() : Networks.dense(UnaryOperator.identity());
    NetworkFile file = new NetworkFile(with(write(network), "preprocessor.bin", trap()));

    for (ThrowingCallable way : List.<ThrowingCallable>of(file::check, file::open)) {
      assertThatThrownBy(way)
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageStartingWith(file.file() + " has an entry preprocessor.bin")
          .hasMessageContaining("write the network again by ModelSerializer.writeModel");
    }
    assertThat(IS_SPRUNG).isFalse();
  }

  /** Where Deeplearning4j finds it all the same. */
  @Test
  void anEntryThatTheZipsDirectoryLeavesOutIsRefusedToo() throws IOException {
    Path zip = with(write(Networks.dense(UnaryOperator.identity())), "preprocessor.bin", trap());
    String bytes = Files.readString(zip, StandardCharsets.ISO_8859_1);
    int inDirectory = bytes.lastIndexOf("preprocessor.bin");
    Files.writeString(
        zip,
        bytes.substring(0, inDirectory) + "somethingelse" + bytes.substring(inDirectory + 13),
        StandardCharsets.ISO_8859_1);
    NetworkFile file = new NetworkFile(zip);

    assertThatThrownBy(file::open).hasMessageContaining("preprocessor.bin");
    assertThat(IS_SPRUNG).isFalse();
    ModelSerializer.restoreMultiLayerNetwork(zip.toFile(), true);
    assertThat(IS_SPRUNG).as("what the refusal is for").isTrue();
  }

  @Test
  void aNormalizerIsNotRead() throws IOException {
    Model network = Networks.dense(UnaryOperator.identity());
    Path zip = write(network);
    NormalizerStandardize normalizer = new NormalizerStandardize();
    DataSet samples = Networks.vectors(9).get(0);
    normalizer.fit(samples);
    ModelSerializer.addNormalizerToModel(zip.toFile(), normalizer);

    assertThat(new NetworkFile(zip).open().params()).isEqualTo(network.params());
    Path damaged = with(write(network), "normalizer.bin", new byte[] {1, 2, 3});
    assertThat(new NetworkFile(damaged).open().params()).isEqualTo(network.params());
  }

  /** Also where all that is needed is there: the state of an updater might not be. */
  @ParameterizedTest
  @ValueSource(doubles = {0.001, 0.5, 0.999})
  void aZipThatIsCutOffIsDamaged(double part) throws IOException {
    Path zip = write(Networks.dense(UnaryOperator.identity()));
    byte[] content = Files.readAllBytes(zip);
    Files.write(zip, Arrays.copyOf(content, (int) Math.ceil(part * content.length)));
    NetworkFile file = new NetworkFile(zip);

    assertThatThrownBy(file::check)
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining("network.zip is no network of Deeplearning4j: the zip is damaged");
  }

  /** What training would find later, and say less well. */
  @Test
  void damagedParametersAreFoundByTheCheck() throws IOException {
    Path zip = write(Networks.dense(UnaryOperator.identity()));
    byte[] content = Files.readAllBytes(zip);
    String text = new String(content, StandardCharsets.ISO_8859_1);
    content[text.indexOf("coefficients.bin") + 100] ^= 1;
    Files.write(zip, content);

    assertThatThrownBy(new NetworkFile(zip)::check)
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining("the zip is damaged");
  }

  @Test
  void aDirectoryOfOtherEntriesIsDamage() throws IOException {
    Path zip = with(write(Networks.dense(UnaryOperator.identity())), "more", new byte[9]);
    byte[] content = Files.readAllBytes(zip);
    int end = new String(content, StandardCharsets.ISO_8859_1).lastIndexOf("PK\u0003\u0004");
    content[end] = 0; // where entries are read until they end
    Files.write(zip, content);

    assertThatThrownBy(new NetworkFile(zip)::check)
        .hasMessageContaining("the zip has 3 entries, and its directory 4");
  }
}
