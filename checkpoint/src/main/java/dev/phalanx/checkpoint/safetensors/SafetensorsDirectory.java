package dev.phalanx.checkpoint.safetensors;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A model's tensors in Hugging Face's layout: one {@code model.safetensors}, or several files that
 * {@code model.safetensors.index.json} lists.
 *
 * <p>One thread at a time.
 */
public final class SafetensorsDirectory implements AutoCloseable {
  private static final String SINGLE = "model.safetensors";
  private static final String INDEX = "model.safetensors.index.json";
  private static final int LONGEST_FILE_NAME = 255;

  private final Path directory;
  private final Map<String, SafetensorsFile> fileOf = new LinkedHashMap<>();
  private final Map<String, SafetensorsFile> open = new LinkedHashMap<>();

  private SafetensorsDirectory(Path directory) {
    this.directory = directory;
  }

  /**
   * Opens all files and checks that every tensor is where the index says.
   *
   * @throws BadCheckpointException where a file is damaged, or missing though the index lists it
   * @throws IOException where there are no weights, or they cannot be read
   */
  public static SafetensorsDirectory open(Path directory) throws IOException {
    SafetensorsDirectory opened = new SafetensorsDirectory(directory);
    try {
      if (Files.isRegularFile(directory.resolve(INDEX))) {
        opened.openIndex();
      } else if (Files.isRegularFile(directory.resolve(SINGLE))) {
        SafetensorsFile file = opened.file(SINGLE);
        file.names().forEach(name -> opened.fileOf.put(name, file));
      } else {
        throw new IOException(
            "There is neither "
                + SINGLE
                + " nor "
                + INDEX
                + " in "
                + directory
                + ". Other formats of weights must be converted to safetensors first.");
      }
      return opened;
    } catch (IOException | RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  private void openIndex() throws IOException {
    Path index = directory.resolve(INDEX);
    Map<String, String> map = weightMap(index);
    if (map.isEmpty()) {
      throw Header.bad(index, "it has no weight_map", null);
    }
    for (Map.Entry<String, String> item : map.entrySet()) {
      String shard = item.getValue();
      if (!shard.endsWith(".safetensors") || !isPlainName(shard)) {
        throw Header.bad(
            index,
            "it names the file '"
                + Names.label(shard)
                + "', which is no .safetensors file in its own folder",
            null);
      }
      SafetensorsFile file = file(shard);
      if (!file.names().contains(item.getKey())) {
        throw Header.bad(
            index,
            "it looks for "
                + Names.label(item.getKey())
                + " in "
                + shard
                + ", which has no such tensor",
            null);
      }
      fileOf.put(item.getKey(), file);
    }
  }

  private static Map<String, String> weightMap(Path index) throws IOException {
    long bytes = Files.size(index);
    if (bytes > Header.MAXIMUM_BYTES) {
      throw Header.bad(index, "it has " + bytes + " bytes, more than any index needs", null);
    }
    byte[] content = Files.readAllBytes(index);
    try (JsonParser parser = StrictJson.parser(content)) {
      Map<String, String> map = Map.of();
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw Header.bad(index, "it is no JSON object", null);
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        boolean isMap = parser.currentName().equals("weight_map");
        parser.nextToken();
        if (isMap) {
          map = StrictJson.texts(parser, "weight_map");
        } else {
          parser.skipChildren();
        }
      }
      return map;
    } catch (IOException e) {
      throw Header.bad(index, "it is no valid JSON (" + StrictJson.reason(e) + ")", e);
    }
  }

  /** What every file system takes as a name in a folder, and every terminal shows in one line. */
  private static boolean isPlainName(String name) {
    return name.length() <= LONGEST_FILE_NAME
        && !name.startsWith(".")
        && name.chars().allMatch(c -> c > ' ' && c <= '~' && c != '/' && c != '\\');
  }

  private SafetensorsFile file(String name) throws IOException {
    SafetensorsFile known = open.get(name);
    if (known != null) {
      return known;
    }
    Path path = directory.resolve(name);
    if (!Files.isRegularFile(path)) {
      throw new BadCheckpointException(
          "The file " + path + ", which " + INDEX + " lists, is missing. Download it as well.");
    }
    SafetensorsFile file = SafetensorsFile.open(path);
    open.put(name, file);
    return file;
  }

  public Set<String> names() {
    return Collections.unmodifiableSet(fileOf.keySet());
  }

  /**
   * @throws BadCheckpointException where there is no such tensor
   */
  public Shape shape(String name) {
    return file(name, fileOf.get(name)).shape(name);
  }

  /** As {@link SafetensorsFile#isFloatingPoint}. */
  public boolean isFloatingPoint(String name) {
    return file(name, fileOf.get(name)).isFloatingPoint(name);
  }

  /** See {@link SafetensorsFile#readRows}. */
  public void readRows(String name, Shape whole, long first, Tensor destination, Engine engine)
      throws IOException {
    file(name, fileOf.get(name)).readRows(name, whole, first, destination, engine);
  }

  /** See {@link SafetensorsFile#readColumns}. */
  public void readColumns(String name, Shape whole, long first, Tensor destination, Engine engine)
      throws IOException {
    file(name, fileOf.get(name)).readColumns(name, whole, first, destination, engine);
  }

  private SafetensorsFile file(String tensor, @Nullable SafetensorsFile found) {
    if (found == null) {
      throw new BadCheckpointException(
          "There is no tensor "
              + Names.label(tensor)
              + " among the "
              + fileOf.size()
              + " in "
              + directory
              + "."
              + Names.nearest(tensor, fileOf.keySet())
              + " Is it of another model?");
    }
    return found;
  }

  @Override
  public void close() throws IOException {
    for (SafetensorsFile file : open.values()) {
      file.close();
    }
  }
}
