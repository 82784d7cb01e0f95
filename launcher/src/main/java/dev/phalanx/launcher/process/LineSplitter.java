package dev.phalanx.launcher.process;

import dev.phalanx.launcher.event.EventCodec;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/**
 * Cuts what a worker writes into lines of text and events. A line ends with LF, CR LF or CR; what
 * has no end is passed on when the stream ends, and a line that goes on for ever in pieces. Bytes
 * that are no text become U+FFFD, so that a worker cannot steer the user's terminal. One thread.
 */
final class LineSplitter {
  /** A longer line is passed on in pieces of this length. */
  static final int LONGEST_LINE_BYTES = 8192;

  /** A longer event is none. */
  static final int LONGEST_EVENT_BYTES = 4 << 20;

  private static final int READ_BYTES = 16384;

  private final Consumer<String> text;
  private final Consumer<String> events;
  private final ByteArrayOutputStream pending = new ByteArrayOutputStream(256);
  private boolean isEvent;
  private boolean lastWasReturn;

  /**
   * @param text hears lines of text without their ends
   * @param events hears what follows a record separator up to the line's end
   */
  LineSplitter(Consumer<String> text, Consumer<String> events) {
    this.text = text;
    this.events = events;
  }

  /** Reads to the end of the stream; a stream that breaks has ended. */
  void readAll(InputStream input) {
    byte[] buffer = new byte[READ_BYTES];
    try (input) {
      int read;
      while ((read = input.read(buffer)) >= 0) {
        accept(buffer, read);
      }
    } catch (IOException e) {
      // The process is gone or its stream was closed: there is nothing more to read.
    }
    finish();
  }

  void accept(byte[] bytes, int count) {
    for (int i = 0; i < count; i++) {
      accept(bytes[i]);
    }
  }

  /** Passes on what had no line end. */
  void finish() {
    if (pending.size() > 0) {
      emit();
    }
  }

  private void accept(byte next) {
    boolean endsReturnPair = lastWasReturn && next == '\n';
    lastWasReturn = next == '\r';
    if (endsReturnPair) {
      return;
    }
    if (next == '\n' || next == '\r') {
      emit();
    } else if (next == EventCodec.RECORD_SEPARATOR) {
      finish();
      isEvent = true;
    } else {
      if (isEvent && pending.size() >= LONGEST_EVENT_BYTES) {
        readAgainAsText();
      }
      if (!isEvent) {
        makeRoom(next);
      }
      pending.write(next);
    }
  }

  private void readAgainAsText() {
    byte[] tooLong = pending.toByteArray();
    pending.reset();
    isEvent = false;
    accept(tooLong, tooLong.length);
  }

  private void makeRoom(byte next) {
    boolean continuesCharacter = (next & 0xC0) == 0x80;
    if (pending.size() >= LONGEST_LINE_BYTES + (continuesCharacter ? 3 : 0)) {
      emit();
    }
  }

  private void emit() {
    String line = pending.toString(StandardCharsets.UTF_8);
    pending.reset();
    boolean wasEvent = isEvent;
    isEvent = false;
    if (wasEvent) {
      events.accept(line);
    } else {
      text.accept(printable(line));
    }
  }

  /** The line with U+FFFD for what a terminal would obey. */
  static String printable(String line) {
    StringBuilder clean = new StringBuilder(line.length());
    line.chars()
        .forEach(c -> clean.append(Character.isISOControl(c) && c != '\t' ? '\uFFFD' : (char) c));
    return clean.toString();
  }
}
