package dev.phalanx.checkpoint.safetensors;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Set;

/**
 * A safetensors file opened for reading. The header is read and checked when it is opened, tensors
 * when they are asked for.
 *
 * <p>One thread at a time.
 */
public final class SafetensorsFile implements AutoCloseable {
  /** What is read at once on the way to a tensor that the bytes cannot go to directly. */
  private static final int CHUNK_BYTES = 8 << 20;

  private final Path file;
  private final FileChannel channel;
  private final Header header;

  private SafetensorsFile(Path file, FileChannel channel, Header header) {
    this.file = file;
    this.channel = channel;
    this.header = header;
  }

  /**
   * @throws BadCheckpointException where the header does not describe the file
   * @throws IOException where the file cannot be read
   */
  public static SafetensorsFile open(Path file) throws IOException {
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    try {
      return new SafetensorsFile(file, channel, readHeader(file, channel));
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  private static Header readHeader(Path file, FileChannel channel) throws IOException {
    long fileBytes = channel.size();
    if (fileBytes < Long.BYTES) {
      throw Header.bad(file, "it has only " + fileBytes + " bytes", null);
    }
    ByteBuffer length = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    readFully(file, channel, length, 0);
    long headerBytes = length.getLong(0);
    if (headerBytes < 2
        || headerBytes > Header.MAXIMUM_BYTES
        || headerBytes > fileBytes - Long.BYTES) {
      throw Header.bad(
          file,
          "it claims a header of "
              + Long.toUnsignedString(headerBytes)
              + " bytes and the file has "
              + fileBytes,
          null);
    }
    ByteBuffer json = ByteBuffer.allocate((int) headerBytes);
    readFully(file, channel, json, Long.BYTES);
    return Header.parse(file, json.array(), fileBytes);
  }

  private static void readFully(Path file, FileChannel channel, ByteBuffer into, long position)
      throws IOException {
    long at = position;
    while (into.hasRemaining()) {
      int count = channel.read(into, at);
      if (count < 0) {
        throw Header.bad(file, "it ends at byte " + at, null);
      }
      at += count;
    }
  }

  public Path path() {
    return file;
  }

  /** The tensors' names in the order of the header. */
  public Set<String> names() {
    return header.entries().keySet();
  }

  /** The header's free texts. */
  public Map<String, String> metadata() {
    return header.metadata();
  }

  /**
   * @throws BadCheckpointException where there is no such tensor
   */
  public Shape shape(String name) {
    return entry(name).shape();
  }

  /**
   * Whether a tensor holds numbers with a fraction, as weights do; true also for a type that cannot
   * be read, which {@link #read} refuses.
   */
  public boolean isFloatingPoint(String name) {
    return entry(name).type().dtype().map(DType::isFloatingPoint).orElse(true);
  }

  /** The type's name in the format: {@code F32}, {@code BF16} and so on. */
  public String typeName(String name) {
    return entry(name).type().name();
  }

  private Header.Entry entry(String name) {
    Header.Entry entry = header.entries().get(name);
    if (entry == null) {
      throw new BadCheckpointException(
          file
              + " has no tensor "
              + Names.label(name)
              + " among its "
              + header.entries().size()
              + "."
              + Names.nearest(name, names())
              + " Is it of another model?");
    }
    return entry;
  }

  /**
   * Copies a tensor's values, converted where the types differ.
   *
   * @param destination of the shape in the file, on any device; strided views are welcome
   * @throws BadCheckpointException where the shapes differ, or the type cannot be read
   */
  public void read(String name, Tensor destination, Engine engine) throws IOException {
    Header.Entry entry = entryFor(name, destination.shape());
    read(entry, readableType(name, entry), 0, destination, engine);
  }

  /**
   * Copies some rows of a tensor, as {@link #read} does all of them.
   *
   * @param whole the tensor's shape
   * @param first of the rows
   * @param destination of the whole's shape but for the number of rows
   * @throws BadCheckpointException where the tensor has another shape, or its type cannot be read
   */
  public void readRows(String name, Shape whole, long first, Tensor destination, Engine engine)
      throws IOException {
    Header.Entry entry = entryFor(name, whole);
    DType dtype = readableType(name, entry);
    requireWithin(whole, 0, first, destination);
    long rowBytes = dtype.bytes(whole.elementCount() / Math.max(1, whole.size(0)));
    read(entry, dtype, first * rowBytes, destination, engine);
  }

  /**
   * Copies some columns of a matrix, without reading the others.
   *
   * @param whole [m, n], the tensor's shape
   * @param first of the columns
   * @param destination [m, columns] on any device; strided views are welcome
   * @throws BadCheckpointException where the tensor has another shape, or its type cannot be read
   */
  public void readColumns(String name, Shape whole, long first, Tensor destination, Engine engine)
      throws IOException {
    Header.Entry entry = entryFor(name, whole);
    DType dtype = readableType(name, entry);
    requireWithin(whole, 1, first, destination);
    if (destination.shape().equals(whole)) {
      read(entry, dtype, 0, destination, engine);
      return;
    }
    long rowBytes = dtype.bytes(whole.size(1));
    long ownBytes = dtype.bytes(destination.size(1));
    long rowsAtOnce = Math.max(1, CHUNK_BYTES / Math.max(1, ownBytes));
    for (long start = 0; start < whole.size(0); start += rowsAtOnce) {
      long count = Math.min(rowsAtOnce, whole.size(0) - start);
      try (Arena staging = new Arena(engine, Device.CPU);
          Tensor part = destination.slice(0, start, count)) {
        Tensor staged = staging.allocate(dtype, part.shape());
        for (long row = 0; row < count; row++) {
          long offset = (start + row) * rowBytes + dtype.bytes(first);
          readBytes(entry, offset, staged.slice(0, row, 1));
        }
        engine.copy(staged, part);
        engine.synchronize(destination.device());
      }
    }
  }

  private static void requireWithin(Shape whole, int dimension, long first, Tensor part) {
    long[] expected = whole.toArray();
    long end = first + part.size(dimension);
    expected[dimension] = part.size(dimension);
    if (first < 0 || end > whole.size(dimension) || !part.shape().equals(Shape.of(expected))) {
      throw new IllegalArgumentException(
          part + " is no part of " + whole + " from " + first + " on along dimension " + dimension);
    }
  }

  /**
   * @param offset from the tensor's first byte, where what is read begins and goes on in one run
   */
  private void read(Header.Entry entry, DType dtype, long offset, Tensor destination, Engine engine)
      throws IOException {
    if (isDirect(dtype, destination)) {
      engine.synchronize(destination.device());
      readBytes(entry, offset, destination);
    } else {
      readThrough(entry, dtype, offset, destination, engine);
    }
  }

  /**
   * Copies a tensor's values as they are, without an engine.
   *
   * @param destination of the shape and type in the file, contiguous, in host memory
   * @throws BadCheckpointException where the shapes or types differ
   */
  public void read(String name, Tensor destination) throws IOException {
    Header.Entry entry = entryFor(name, destination.shape());
    if (!isDirect(readableType(name, entry), destination)) {
      throw new BadCheckpointException(
          "Tensor "
              + Names.label(name)
              + " in "
              + file
              + " has the type "
              + entry.type()
              + ", and what it is read into is a "
              + destination
              + ". Is it of another model?");
    }
    readBytes(entry, 0, destination);
  }

  private static boolean isDirect(DType dtype, Tensor destination) {
    return destination.isContiguous()
        && destination.dtype() == dtype
        && destination.device().isCpu();
  }

  private Header.Entry entryFor(String name, Shape wanted) {
    Header.Entry entry = entry(name);
    if (!entry.shape().equals(wanted)) {
      throw new BadCheckpointException(
          "Tensor "
              + Names.label(name)
              + " in "
              + file
              + " has the shape "
              + entry.shape()
              + " and the model wants "
              + wanted
              + ". Is it of another model?");
    }
    return entry;
  }

  private DType readableType(String name, Header.Entry entry) {
    return entry
        .type()
        .dtype()
        .orElseThrow(
            () ->
                new BadCheckpointException(
                    "Tensor "
                        + Names.label(name)
                        + " in "
                        + file
                        + " has the type "
                        + entry.type()
                        + ", which cannot be read. Convert the file to F32, F16 or BF16."));
  }

  /** Fills a contiguous host tensor with the tensor's bytes from {@code offset}. */
  private void readBytes(Header.Entry entry, long offset, Tensor destination) throws IOException {
    long count = destination.byteSize();
    for (long done = 0; done < count; done += CHUNK_BYTES) {
      ByteBuffer part = destination.byteBuffer(done, (int) Math.min(CHUNK_BYTES, count - done));
      readFully(file, channel, part, header.dataStart() + entry.start() + offset + done);
    }
  }

  /**
   * Reads parts of at most {@link #CHUNK_BYTES} into a staging tensor and lets the engine convert
   * them.
   */
  private void readThrough(
      Header.Entry entry, DType dtype, long offset, Tensor destination, Engine engine)
      throws IOException {
    if (destination.elementCount() == 0) {
      return;
    }
    try (Arena staging = new Arena(engine, Device.CPU)) {
      readPart(entry, dtype, offset, 0, destination, staging);
    }
  }

  /**
   * Reads a part of the tensor that lies in one run in the file.
   *
   * @param offset of the run, from the tensor's first byte
   * @param dimension the outermost one that may be divided; all before it have the size 1 here
   */
  private void readPart(
      Header.Entry entry,
      DType dtype,
      long offset,
      int dimension,
      Tensor destination,
      Arena staging)
      throws IOException {
    long bytes = dtype.bytes(destination.elementCount());
    if (bytes <= CHUNK_BYTES || dimension == destination.shape().rank()) {
      Engine engine = staging.engine();
      try (Tensor staged = staging.allocate(dtype, destination.shape())) {
        readBytes(entry, offset, staged);
        engine.copy(staged, destination);
        engine.synchronize(destination.device());
      }
      return;
    }
    long rows = destination.size(dimension);
    long rowBytes = bytes / rows;
    long rowsAtOnce = Math.max(1, CHUNK_BYTES / rowBytes);
    for (long row = 0; row < rows; row += rowsAtOnce) {
      long count = Math.min(rowsAtOnce, rows - row);
      try (Tensor part = destination.slice(dimension, row, count)) {
        readPart(entry, dtype, offset + row * rowBytes, dimension + 1, part, staging);
      }
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
