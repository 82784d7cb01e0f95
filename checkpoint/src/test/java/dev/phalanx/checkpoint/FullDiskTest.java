package dev.phalanx.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.safetensors.HostMemory;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.checkpoint.safetensors.SmallDisk;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A disk that fills up while a checkpoint is written, at every byte of it. */
final class FullDiskTest {
  private final HostMemory memory = new HostMemory();

  @TempDir private Path root = Path.of("");
  private List<Entry> model = List.of();
  private List<Entry> optimizer = List.of();

  @BeforeEach
  void saveAnEarlierCheckpoint() {
    model = Checkpoints.model(memory, 1);
    optimizer = Checkpoints.optimizer(memory, 1);
    new LocalCheckpointStore(root).save(Checkpoints.manifest(100), model, optimizer);
  }

  @AfterEach
  void freeMemory() {
    memory.close();
  }

  /** Puts files on a disk that has {@code room} left for all of them. */
  private static LocalCheckpointStore.TensorFileWriter disk(AtomicLong room) {
    return (file, metadata, entries) -> {
      try (FileChannel channel =
          FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        SafetensorsWriter.Written written =
            SafetensorsWriter.write(
                new SmallDisk(channel, room.get(), Integer.MAX_VALUE), metadata, entries);
        room.addAndGet(-written.bytes());
        return written;
      }
    };
  }

  @ParameterizedTest
  @ValueSource(longs = {100, 200})
  void whereverTheDiskFillsUpTheEarlierCheckpointStaysAndNothingElse(long step) throws IOException {
    long needed = bytes("model.safetensors") + bytes("optimizer.safetensors");
    for (long room :
        LongStream.range(0, needed).filter(byteCount -> byteCount % 7 == 0).toArray()) {
      LocalCheckpointStore store = new LocalCheckpointStore(root, disk(new AtomicLong(room)));

      assertThatThrownBy(() -> store.save(Checkpoints.manifest(step), model, optimizer))
          .as("%d bytes of room", room)
          .isInstanceOf(CheckpointWriteException.class)
          .hasMessageContaining("step-000" + step)
          .hasMessageContaining(SmallDisk.FULL)
          .hasMessageContaining("are free")
          .hasMessageContaining("--resume");
      assertThat(Checkpoints.names(root)).containsExactly("step-000100");
    }
    try (SavedCheckpoint earlier = SavedCheckpoint.open(root.resolve("step-000100"))) {
      earlier.verify();
    }
  }

  @Test
  void aDiskWithJustEnoughRoomWillDo() throws IOException {
    long needed = bytes("model.safetensors") + bytes("optimizer.safetensors");
    LocalCheckpointStore store = new LocalCheckpointStore(root, disk(new AtomicLong(needed)));

    Path saved = store.save(Checkpoints.manifest(200), model, optimizer);

    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(saved)) {
      checkpoint.verify();
    }
  }

  @Test
  void theMessageSaysHowMuchIsNeeded() {
    LocalCheckpointStore store = new LocalCheckpointStore(root, disk(new AtomicLong(0)));
    long needed =
        SafetensorsWriter.size(Map.of(), model) + SafetensorsWriter.size(Map.of(), optimizer);

    assertThatThrownBy(() -> store.save(Checkpoints.manifest(200), model, optimizer))
        .hasMessageContaining("(" + needed + " bytes were needed");
  }

  private long bytes(String name) throws IOException {
    return Files.size(root.resolve("step-000100").resolve(name));
  }
}
