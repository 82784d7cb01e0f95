package dev.phalanx.checkpoint.safetensors;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.tensor.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Reads the JSON of one header; each tensor is checked as it comes. */
final class HeaderReader {
  private static final String METADATA = "__metadata__";
  private static final int MAXIMUM_RANK = 16;

  private final Path file;
  private final JsonParser json;
  private final Map<String, Header.Entry> entries = new LinkedHashMap<>();
  private @Nullable Map<String, String> metadata;

  HeaderReader(Path file, JsonParser json) {
    this.file = file;
    this.json = json;
  }

  Map<String, Header.Entry> entries() {
    return entries;
  }

  Map<String, String> metadata() {
    return metadata == null ? Map.of() : metadata;
  }

  void read() throws IOException {
    if (json.nextToken() != JsonToken.START_OBJECT) {
      throw bad("its header is no JSON object", null);
    }
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String name = json.currentName();
      json.nextToken();
      if (name.equals(METADATA)) {
        if (metadata != null) {
          throw bad("its header has " + METADATA + " twice", null);
        }
        metadata = StrictJson.texts(json, METADATA);
      } else if (entries.put(name, entry(name)) != null) {
        throw bad("its header has tensor " + Names.label(name) + " twice", null);
      }
      if (entries.size() > StrictJson.MAXIMUM_NAMES) {
        throw bad("its header lists more than " + StrictJson.MAXIMUM_NAMES + " tensors", null);
      }
    }
    if (json.nextToken() != null) {
      throw bad("its header goes on after the JSON object", null);
    }
  }

  private Header.Entry entry(String name) throws IOException {
    if (json.currentToken() != JsonToken.START_OBJECT) {
      throw badTensor(name, "is no JSON object");
    }
    StoredType type = null;
    Shape shape = null;
    long[] offsets = null;
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      json.nextToken();
      if (key.equals("dtype") && type == null) {
        type = type(name);
      } else if (key.equals("shape") && shape == null) {
        shape = shape(name);
      } else if (key.equals("data_offsets") && offsets == null) {
        offsets = numbers(name, key, 2);
      } else {
        throw badTensor(name, "has the key '" + Names.label(key) + "' twice or has no use for it");
      }
    }
    if (type == null || shape == null || offsets == null || offsets.length != 2) {
      throw badTensor(name, "lacks a dtype, a shape or a pair of data_offsets");
    }
    long expected = bytes(name, type, shape);
    if (offsets[1] - offsets[0] != expected) {
      throw badTensor(
          name,
          String.format(
              Locale.ROOT,
              "of %s %s needs %d bytes but has %d",
              type,
              shape,
              expected,
              offsets[1] - offsets[0]));
    }
    return new Header.Entry(name, type, shape, offsets[0], offsets[1]);
  }

  private StoredType type(String name) throws IOException {
    if (json.currentToken() != JsonToken.VALUE_STRING) {
      throw badTensor(name, "has a dtype that is no text");
    }
    String text = json.getText();
    return StoredType.of(text)
        .orElseThrow(() -> badTensor(name, "has the unknown type '" + Names.label(text) + "'"));
  }

  private Shape shape(String name) throws IOException {
    try {
      return Shape.of(numbers(name, "shape", MAXIMUM_RANK));
    } catch (ArithmeticException e) {
      throw bad("tensor " + Names.label(name) + " has more elements than can be counted", e);
    }
  }

  private long[] numbers(String name, String key, int most) throws IOException {
    if (json.currentToken() != JsonToken.START_ARRAY) {
      throw badTensor(name, "has a " + key + " that is no list");
    }
    long[] numbers = new long[most];
    int count = 0;
    while (json.nextToken() != JsonToken.END_ARRAY) {
      if (count == most) {
        throw badTensor(name, "has a " + key + " of more than " + most + " numbers");
      }
      if (!isWholeNumber()) {
        throw badTensor(
            name, "has a " + key + " with " + Names.label(String.valueOf(json.getText())));
      }
      numbers[count++] = json.getLongValue();
    }
    return Arrays.copyOf(numbers, count);
  }

  private boolean isWholeNumber() throws IOException {
    return json.currentToken() == JsonToken.VALUE_NUMBER_INT
        && json.getNumberType() != JsonParser.NumberType.BIG_INTEGER
        && json.getLongValue() >= 0;
  }

  private long bytes(String name, StoredType type, Shape shape) {
    try {
      return Math.multiplyExact(shape.elementCount(), type.byteSize());
    } catch (ArithmeticException e) {
      throw bad("tensor " + Names.label(name) + " has more bytes than can be counted", e);
    }
  }

  private BadCheckpointException badTensor(String name, String what) {
    return Header.bad(file, "tensor " + Names.label(name) + " " + what, null);
  }

  private BadCheckpointException bad(String what, @Nullable Throwable cause) {
    return Header.bad(file, what, cause);
  }
}
