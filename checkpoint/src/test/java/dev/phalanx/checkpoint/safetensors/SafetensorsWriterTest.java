package dev.phalanx.checkpoint.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.channels.WritableByteChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the writer refuses to write. */
final class SafetensorsWriterTest {
  private final HostMemory memory = new HostMemory();

  @TempDir private Path folder = Path.of("");

  @AfterEach
  void freeMemory() {
    memory.close();
  }

  @Test
  void aNameThatComesTwiceIsRefused() {
    Tensor tensor = memory.random(1, DType.FLOAT32, 2);

    assertRefused(
        "wte.weight", List.of(new Entry("wte.weight", tensor), new Entry("wte.weight", tensor)));
  }

  @Test
  void theNameOfTheMetadataIsRefused() {
    assertRefused(
        "__metadata__", List.of(new Entry("__metadata__", memory.random(1, DType.FLOAT32, 2))));
  }

  @Test
  void aViewWithGapsIsRefused() {
    Tensor tensor = memory.random(1, DType.FLOAT32, 4, 3);

    assertRefused("contiguous", List.of(new Entry("x", tensor.transpose(0, 1))));
    assertRefused("contiguous", List.of(new Entry("x", tensor.slice(1, 0, 2))));
  }

  private void assertRefused(String reason, List<Entry> entries) {
    Path file = folder.resolve("x.safetensors");
    assertThatThrownBy(() -> SafetensorsWriter.write(file, Map.of(), entries))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(reason);
    assertThat(file).doesNotExist();

    ByteArrayOutputStream written = new ByteArrayOutputStream();
    WritableByteChannel channel = Channels.newChannel(written);
    assertThatThrownBy(() -> SafetensorsWriter.write(channel, Map.of(), entries))
        .isInstanceOf(IllegalArgumentException.class);
    assertThat(written.size()).isZero();
  }

  @Test
  void aFileThatIsThereIsNotOverwritten() throws IOException {
    Path file = Files.writeString(folder.resolve("x.safetensors"), "keep me");

    assertThatThrownBy(() -> SafetensorsWriter.write(file, Map.of(), ValidFile.entries(memory)))
        .isInstanceOf(FileAlreadyExistsException.class);
    assertThat(file).hasContent("keep me");
  }
}
