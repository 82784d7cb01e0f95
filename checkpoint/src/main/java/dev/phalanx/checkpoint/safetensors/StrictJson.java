package dev.phalanx.checkpoint.safetensors;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * JSON that somebody else wrote, token by token: what is not kept takes no memory, so a small file
 * cannot ask for a large heap.
 */
final class StrictJson {
  /** More names than any model has; a file that lists more is refused before they fill the heap. */
  static final int MAXIMUM_NAMES = 1_000_000;

  private static final int MAXIMUM_DEPTH = 8;
  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .streamReadConstraints(
              StreamReadConstraints.builder().maxNestingDepth(MAXIMUM_DEPTH).build())
          .build();

  private StrictJson() {}

  /** A parser of UTF-8 and nothing else; Jackson alone would guess UTF-16 as well. */
  static JsonParser parser(byte[] json) throws IOException {
    return FACTORY.createParser(
        new InputStreamReader(new ByteArrayInputStream(json), StandardCharsets.UTF_8.newDecoder()));
  }

  /** Reads an object whose values are all texts; the parser stands at its beginning. */
  static Map<String, String> texts(JsonParser parser, String what) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw new JsonParseException(parser, what + " is no object");
    }
    Map<String, String> texts = new LinkedHashMap<>();
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = parser.currentName();
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw new JsonParseException(parser, what + " has no text for " + Names.label(name));
      }
      if (texts.put(name, parser.getText()) != null) {
        throw new JsonParseException(parser, what + " has " + Names.label(name) + " twice");
      }
      if (texts.size() > MAXIMUM_NAMES) {
        throw new JsonParseException(parser, what + " has more than " + MAXIMUM_NAMES + " entries");
      }
    }
    return texts;
  }

  /** What is wrong, in words without the source's place. */
  static String reason(IOException e) {
    if (e instanceof JsonProcessingException json) {
      return Names.oneLine(json.getOriginalMessage());
    }
    return e instanceof CharacterCodingException
        ? "it is not in UTF-8"
        : Names.oneLine(String.valueOf(e.getMessage()));
  }
}
