package dev.phalanx.checkpoint.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class SafetensorsDirectoryTest {
  private static final String INDEX = "model.safetensors.index.json";

  private final HostMemory memory = new HostMemory();
  private final Tensor first = memory.random(1, DType.FLOAT32, 3, 5);
  private final Tensor second = memory.random(2, DType.FLOAT32, 4);

  @TempDir private Path parent = Path.of("");
  private Path folder = Path.of("");

  @BeforeEach
  void makeFolder() throws IOException {
    folder = Files.createDirectory(parent.resolve("model"));
  }

  @AfterEach
  void freeMemory() {
    memory.close();
  }

  @Test
  void aSingleFileIsReadWhole() throws IOException {
    write("model.safetensors", new Entry("a", first), new Entry("b", second));

    try (SafetensorsDirectory directory = SafetensorsDirectory.open(folder)) {
      assertThat(directory.names()).containsExactly("a", "b");
      assertHolds(directory, "a", first);
      assertHolds(directory, "b", second);
    }
  }

  @Test
  void tensorsAreReadFromTheFilesThatTheIndexNames() throws IOException {
    write("model-00001-of-00002.safetensors", new Entry("a", first), new Entry("c", second));
    write("model-00002-of-00002.safetensors", new Entry("b", second));
    Files.writeString(
        folder.resolve(INDEX),
        """
        {"metadata": {"total_size": 92, "nested": [{}]},
         "weight_map": {"b": "model-00002-of-00002.safetensors",
                        "a": "model-00001-of-00002.safetensors",
                        "c": "model-00001-of-00002.safetensors"}}
        """);

    try (SafetensorsDirectory directory = SafetensorsDirectory.open(folder)) {
      assertThat(directory.names()).containsExactly("b", "a", "c");
      assertHolds(directory, "a", first);
      assertHolds(directory, "b", second);
      assertHolds(directory, "c", second);
    }
  }

  @Test
  void whereThereAreBothTheIndexCounts() throws IOException {
    write("model.safetensors", new Entry("old", first));
    write("model-00001.safetensors", new Entry("a", second));
    index("a", "model-00001.safetensors");

    try (SafetensorsDirectory directory = SafetensorsDirectory.open(folder)) {
      assertThat(directory.names()).containsExactly("a");
    }
  }

  @Test
  void aMissingFileOfTheIndexIsNamed() throws IOException {
    index("a", "model-00002-of-00002.safetensors");

    assertRefused("model-00002-of-00002.safetensors", "is missing");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../outside.safetensors",
        "sub/inside.safetensors",
        "sub\\\\inside.safetensors",
        ".hidden.safetensors",
        "weights.bin",
        "",
        ".safetensors",
        "line\\nbreak.safetensors",
        "line\\u2028break.safetensors",
        "zero\\u0000.safetensors",
        "half\\ud800.safetensors",
        "a b.safetensors",
      })
  void anIndexCannotNameAFileThatIsNoPlainOneInItsFolder(String shard) throws IOException {
    SafetensorsWriter.write(
        parent.resolve("outside.safetensors"), Map.of(), List.of(new Entry("a", first)));
    Files.createDirectory(folder.resolve("sub"));
    write("sub/inside.safetensors", new Entry("a", first));
    write(".hidden.safetensors", new Entry("a", first));
    write("weights.bin", new Entry("a", first));
    index("a", shard);

    assertRefused(INDEX, "no .safetensors file in its own folder");
  }

  @Test
  void anIndexCannotNameAnAbsolutePath() throws IOException {
    Path outside = parent.resolve("outside.safetensors");
    SafetensorsWriter.write(outside, Map.of(), List.of(new Entry("a", first)));
    index("a", outside.toAbsolutePath().toString());

    assertRefused(INDEX, "no .safetensors file in its own folder");
  }

  @Test
  void aNameLongerThanAnyFileHasIsCutInTheMessage() throws IOException {
    index("a", "x".repeat(9000) + ".safetensors");

    assertRefused(INDEX, "no .safetensors file in its own folder");
  }

  @Test
  void aTensorThatIsNotInTheFileOfTheIndexIsNamed() throws IOException {
    write("model-00001.safetensors", new Entry("a", first));
    index("b\\u2028", "model-00001.safetensors");

    assertRefused(INDEX, "it looks for b? in model-00001.safetensors, which has no such tensor");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "{}",
        "{\"weight_map\": {}}",
        "{\"weight_map\": []}",
        "{\"weight_map\": {\"a\": 1}}",
        "{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"x.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"x.safetensors\"}",
      })
  void anIndexThatIsNoneIsRefused(String index) throws IOException {
    write("x.safetensors", new Entry("a", first));
    Files.writeString(folder.resolve(INDEX), index);

    assertRefused(INDEX, "is damaged");
  }

  @Test
  void aDamagedFileOfTheIndexIsNamed() throws IOException {
    Files.writeString(folder.resolve("model-00001.safetensors"), "<!DOCTYPE html>");
    index("a", "model-00001.safetensors");

    assertRefused("model-00001.safetensors", "claims a header of");
  }

  @Test
  void aFolderWithoutWeightsIsNoDamage() throws IOException {
    Files.writeString(folder.resolve("pytorch_model.bin"), "");

    assertThatThrownBy(() -> SafetensorsDirectory.open(folder))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(folder.toString())
        .hasMessageContaining("converted to safetensors");
  }

  @Test
  void aMissingTensorIsReportedWithTheNearestNames() throws IOException {
    write("model.safetensors", new Entry("lm_head.weight", first));

    try (SafetensorsDirectory directory = SafetensorsDirectory.open(folder)) {
      assertThatThrownBy(() -> directory.shape("lm_head.bias"))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining("no tensor lm_head.bias")
          .hasMessageContaining("The nearest are lm_head.weight.");
      assertThatThrownBy(() -> directory.readRows("x", second.shape(), 0, second, memory.engine()))
          .isInstanceOf(BadCheckpointException.class);
    }
  }

  private void write(String name, Entry... entries) throws IOException {
    SafetensorsWriter.write(folder.resolve(name), Map.of(), List.of(entries));
  }

  /** Both are in JSON's own notation. */
  private void index(String tensor, String shard) throws IOException {
    Files.writeString(
        folder.resolve(INDEX), String.format("{\"weight_map\": {\"%s\": \"%s\"}}", tensor, shard));
  }

  private void assertHolds(SafetensorsDirectory directory, String name, Tensor expected)
      throws IOException {
    assertThat(directory.shape(name)).isEqualTo(expected.shape());
    Tensor read = memory.blank(expected.dtype(), Shape.of(expected.shape().toArray()));
    directory.readRows(name, read.shape(), 0, read, memory.engine());
    assertThat(HostMemory.bytes(read)).isEqualTo(HostMemory.bytes(expected));
  }

  private void assertRefused(String file, String reason) {
    assertThatThrownBy(() -> SafetensorsDirectory.open(folder))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining(folder.resolve(file).toString())
        .hasMessageContaining(reason)
        .satisfies(
            e ->
                assertThat(e.getMessage())
                    .hasSizeLessThan(1000)
                    .doesNotContainPattern("[\\p{Cntrl}\\u2028]"));
  }
}
