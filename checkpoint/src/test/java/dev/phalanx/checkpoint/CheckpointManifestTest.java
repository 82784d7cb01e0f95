package dev.phalanx.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.CheckpointManifest.StoredFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class CheckpointManifestTest {
  private static final CheckpointManifest MANIFEST =
      new CheckpointManifest(
          200,
          6400,
          Long.MAX_VALUE,
          -7,
          4,
          "sgd",
          Optional.of("gpt2"),
          "seed: -7\nname: \"été\"\n",
          List.of(
              new StoredFile("model.safetensors", 1L << 40, 0xdeadbeef),
              new StoredFile("optimizer.safetensors", 0, 1)));

  @TempDir private Path directory = Path.of("");

  private void write(String json) throws IOException {
    Files.writeString(directory.resolve("checkpoint.json"), json);
  }

  private static String json() {
    return new String(MANIFEST.toJson(), StandardCharsets.UTF_8);
  }

  @Test
  void whatIsWrittenIsRead() throws IOException {
    write(json());
    assertThat(CheckpointManifest.read(directory)).isEqualTo(MANIFEST);

    CheckpointManifest least =
        new CheckpointManifest(
            0, 0, 1, Long.MIN_VALUE, 1, "adamw", Optional.empty(), "", List.of());
    Files.write(directory.resolve("checkpoint.json"), least.toJson());
    assertThat(CheckpointManifest.read(directory)).isEqualTo(least);
  }

  @Test
  void keysOfALaterKindAreSkipped() throws IOException {
    write(json().replace("\"step\"", "\"written_by\" : {\"name\": [\"x\"]}, \"step\""));

    assertThat(CheckpointManifest.read(directory)).isEqualTo(MANIFEST);
  }

  @ParameterizedTest
  @ValueSource(strings = {"2", "0", "-1", "9223372036854775807"})
  void anotherVersionIsRefusedWithWhatToDo(String version) throws IOException {
    write(json().replace("\"format_version\" : 1", "\"format_version\" : " + version));

    assertThatThrownBy(() -> CheckpointManifest.read(directory))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining("checkpoint.json has format version " + version)
        .hasMessageContaining("reads 1")
        .hasMessageContaining("Use the version of Phalanx that wrote it");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "\"step\" : 200 | \"step\" : -1 | its step is -1",
        "\"step\" : 200 | \"step\" : 2.5 | its step is 2.5",
        "\"step\" : 200 | \"step\" : \"200\" | its step is \"200\"",
        "\"step\" : 200 | \"step\" : 9223372036854775808 | its step is 9223372036854775808",
        "\"step\" : 200 | \"steps\" : 200 | its step is missing",
        "\"samples\" : 6400 | \"samples\" : -6400 | its samples is -6400",
        "\"seed\" : -7 | \"seed\" : null | its seed is null",
        "\"world_size\" : 4 | \"world_size\" : 0 | its world_size is 0",
        "\"world_size\" : 4 | \"world_size\" : -4294967296 | its world_size is -4294967296",
        "\"world_size\" : 4 | \"world_size\" : 4294967300 | its world_size is 4294967300",
        "\"optimizer\" : \"sgd\" | \"optimizer\" : [] | its optimizer is []",
        "\"tokenizer\" : \"gpt2\" | \"tokenizer\" : 2 | its tokenizer is 2",
        "\"plan\" | \"plans\" | its plan is missing",
        "\"bytes\" : 0 | \"bytes\" : -1 | its bytes is -1",
        "\"bytes\" : 0 | \"size\" : 0 | its bytes is missing",
        "\"deadbeef\" | \"deadbeefs\" | crc32c is \"deadbeefs\"",
        "\"deadbeef\" | \"\" | crc32c is \"\"",
        "\"deadbeef\" | 12 | its crc32c is 12",
        "\"format\" : \"phalanx-checkpoint\" | \"format\" : \"x\" | not say that it is a"
            + " checkpoint",
        "\"format_version\" : 1 | \"format_version\" : \"1\" | its format_version is \"1\"",
        "\"step\" : 200 | \"step\" : 200 x | it is no valid JSON",
        "\"step\" : 200 | \"step\" : 200 \u2028 | it is no valid JSON",
        "\"step\" : 200 | \"step\" : \"\\u000a\u2028\" | its step is",
      })
  void aManifestWithAnythingElseThanItSaysIsRefused(String found, String changed, String reason)
      throws IOException {
    assertThat(json()).contains(found);
    write(json().replace(found, changed));

    assertRefused(reason);
  }

  @Test
  void everyTruncationIsRefused() throws IOException {
    byte[] whole = MANIFEST.toJson();
    for (int length = 0; length < whole.length; length++) {
      Files.write(directory.resolve("checkpoint.json"), Arrays.copyOf(whole, length));
      assertRefused("checkpoint.json");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"null", "[]", "7", "\"phalanx-checkpoint\"", "{}", "\u0000"})
  void otherJsonIsRefused(String json) throws IOException {
    write(json);

    assertRefused("checkpoint.json is damaged");
  }

  @Test
  void whatItSaysIsCutInTheMessage() throws IOException {
    write(json().replace("\"step\" : 200", "\"step\" : [" + "1,".repeat(9000) + "1]"));
    assertRefused("its step is [1,1,");

    write(json().replace("\"step\" : 200", "\"step\" : " + "[".repeat(9000)));
    assertRefused("it is no valid JSON");
  }

  private void assertRefused(String reason) {
    assertThatThrownBy(() -> CheckpointManifest.read(directory))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining(directory.toString())
        .hasMessageContaining(reason)
        .satisfies(
            e ->
                assertThat(e.getMessage())
                    .hasSizeLessThan(600)
                    .doesNotContainPattern("[\\p{Cntrl}\\u2028]"));
  }
}
