package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * A run of a tensor's elements, sent in pieces so that a rank can pass on the beginning while the
 * end is still on its way. An empty chunk has one empty piece: every step of an algorithm has a
 * message.
 *
 * @param tensor contiguous, in host memory
 * @param first the first element
 */
record Chunk(Tensor tensor, long first, long elements) {
  /**
   * Small enough to overlap transfer and reduction, large enough for the cost of a message to
   * vanish.
   */
  static final int PIECE_BYTES = 256 * 1024;

  static Chunk whole(Tensor tensor) {
    return new Chunk(tensor, 0, tensor.elementCount());
  }

  /** Part {@code index} of {@code parts} about equal ones. */
  static Chunk part(Tensor tensor, int index, int parts) {
    long start = boundary(tensor.elementCount(), index, parts);
    long end = boundary(tensor.elementCount(), index + 1, parts);
    return new Chunk(tensor, start, end - start);
  }

  /** {@code elements * index / parts} without overflow; the first chunks are the larger ones. */
  private static long boundary(long elements, int index, int parts) {
    return elements / parts * index + Math.min(index, elements % parts);
  }

  int pieces() {
    long bytes = tensor.dtype().bytes(elements);
    return Math.toIntExact(Math.max(1, (bytes + PIECE_BYTES - 1) / PIECE_BYTES));
  }

  /** The bytes of a piece; no copy. */
  ByteBuffer piece(int index) {
    long start = (long) index * PIECE_BYTES;
    long end = Math.min(start + PIECE_BYTES, tensor.dtype().bytes(elements));
    return tensor.byteBuffer(tensor.dtype().bytes(first) + start, (int) (end - start));
  }
}
