package dev.phalanx.checkpoint.safetensors;

import com.fasterxml.jackson.core.JsonParser;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.tensor.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a file says about its tensors, checked: known types, sizes that multiply to the bytes given,
 * and bytes that follow each other from the header to the end of the file without gap or overlap.
 *
 * @param dataStart where the tensors' bytes begin in the file
 */
record Header(long dataStart, Map<String, Entry> entries, Map<String, String> metadata) {
  /** Longer headers are refused, as the format's own library does. */
  static final long MAXIMUM_BYTES = 100_000_000;

  /**
   * A tensor in the file.
   *
   * @param start of its bytes, from {@link #dataStart}
   */
  record Entry(String name, StoredType type, Shape shape, long start, long end) {
    long byteSize() {
      return end - start;
    }
  }

  /**
   * @param json the header's bytes
   * @param fileBytes the size of the whole file
   */
  static Header parse(Path file, byte[] json, long fileBytes) {
    HeaderReader reader;
    try (JsonParser parser = StrictJson.parser(json)) {
      reader = new HeaderReader(file, parser);
      reader.read();
    } catch (IOException e) {
      throw bad(file, "its header is no valid JSON (" + StrictJson.reason(e) + ")", e);
    }
    long dataStart = Long.BYTES + (long) json.length;
    requireNoGaps(file, reader.entries(), dataStart, fileBytes);
    return new Header(
        dataStart,
        Collections.unmodifiableMap(reader.entries()),
        Collections.unmodifiableMap(reader.metadata()));
  }

  private static void requireNoGaps(
      Path file, Map<String, Entry> entries, long dataStart, long fileBytes) {
    List<Entry> sorted = new ArrayList<>(entries.values());
    sorted.sort(Comparator.comparingLong(Entry::start).thenComparingLong(Entry::end));
    long position = 0;
    for (Entry entry : sorted) {
      if (entry.start() != position) {
        throw bad(
            file,
            "tensor "
                + Names.label(entry.name())
                + " begins at byte "
                + entry.start()
                + " where byte "
                + position
                + " comes next",
            null);
      }
      position = entry.end();
    }
    if (position != fileBytes - dataStart) {
      throw bad(
          file,
          "it has "
              + fileBytes
              + " bytes but its header describes "
              + Long.toUnsignedString(dataStart + position),
          null);
    }
  }

  static BadCheckpointException bad(Path file, String what, @Nullable Throwable cause) {
    String message =
        file + " is damaged: " + what + ". Copy or download it again, or take an older checkpoint.";
    return cause == null
        ? new BadCheckpointException(message)
        : new BadCheckpointException(message, cause);
  }
}
