package dev.phalanx.trainer;

import com.google.protobuf.CodedOutputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.zip.CRC32C;

/**
 * A file of scalars over steps that TensorBoard shows. Each run writes a file of its own into the
 * folder; a run that goes on from a checkpoint continues the curves.
 *
 * <p>The format is TensorFlow's: records of {@code length, masked CRC-32C of it, bytes, masked
 * CRC-32C of them}, each a message {@code Event {double wall_time = 1; int64 step = 2; string
 * file_version = 3; Summary summary = 5}} with {@code Summary {repeated Value {string tag = 1;
 * float simple_value = 2} value = 1}}.
 */
final class TensorBoardFile implements Closeable {
  private static final int MASK = 0xa282ead8;
  private static final int WALL_TIME = 1;
  private static final int STEP = 2;
  private static final int FILE_VERSION = 3;
  private static final int SUMMARY = 5;
  private static final int VALUE = 1;
  private static final int TAG = 1;
  private static final int SIMPLE_VALUE = 2;

  private final Path path;
  private final OutputStream output;

  /** What a message writes. */
  private interface Fields {
    void write(CodedOutputStream message) throws IOException;
  }

  private TensorBoardFile(Path path) throws IOException {
    this.path = path;
    this.output = new BufferedOutputStream(Files.newOutputStream(path));
  }

  /** Makes a new file in a folder, which is made where it is missing. */
  static TensorBoardFile create(Path folder) throws IOException {
    Files.createDirectories(folder);
    Instant now = Instant.now();
    // TensorBoard reads files in the order of their names.
    String name =
        "events.out.tfevents."
            + now.getEpochSecond()
            + ".phalanx."
            + ProcessHandle.current().pid()
            + "."
            + now.getNano();
    TensorBoardFile file = new TensorBoardFile(folder.resolve(name));
    file.event(event -> event.writeString(FILE_VERSION, "brain.Event:2"));
    file.flush();
    return file;
  }

  Path path() {
    return path;
  }

  void scalar(String tag, long step, double value) throws IOException {
    byte[] scalar =
        message(
            fields -> {
              fields.writeString(TAG, tag);
              fields.writeFloat(SIMPLE_VALUE, (float) value);
            });
    byte[] summary = message(fields -> fields.writeByteArray(VALUE, scalar));
    event(
        event -> {
          event.writeInt64(STEP, step);
          event.writeByteArray(SUMMARY, summary);
        });
  }

  /** Hands everything so far to the operating system, so that TensorBoard sees it. */
  void flush() throws IOException {
    output.flush();
  }

  private void event(Fields fields) throws IOException {
    Instant now = Instant.now();
    byte[] event =
        message(
            message -> {
              message.writeDouble(WALL_TIME, now.getEpochSecond() + now.getNano() / 1e9);
              fields.write(message);
            });
    byte[] length =
        ByteBuffer.allocate(Long.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(event.length)
            .array();
    output.write(length);
    output.write(maskedChecksum(length));
    output.write(event);
    output.write(maskedChecksum(event));
  }

  private static byte[] message(Fields fields) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    CodedOutputStream message = CodedOutputStream.newInstance(bytes);
    fields.write(message);
    message.flush();
    return bytes.toByteArray();
  }

  private static byte[] maskedChecksum(byte[] bytes) {
    CRC32C checksum = new CRC32C();
    checksum.update(bytes);
    int masked = Integer.rotateRight((int) checksum.getValue(), 15) + MASK;
    return ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN).putInt(masked).array();
  }

  @Override
  public void close() throws IOException {
    output.close();
  }
}
