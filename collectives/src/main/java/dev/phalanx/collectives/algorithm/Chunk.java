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
 * @param pieceBytes of all pieces but the last
 */
record Chunk(Tensor tensor, long first, long elements, int pieceBytes) {
  static Chunk whole(Tensor tensor, int pieceBytes) {
    return new Chunk(tensor, 0, tensor.elementCount(), pieceBytes);
  }

  /** Part {@code index} of {@code parts} about equal ones. */
  Chunk part(int index, int parts) {
    long start = boundary(elements, index, parts);
    long end = boundary(elements, index + 1, parts);
    return new Chunk(tensor, first + start, end - start, pieceBytes);
  }

  /** {@code elements * index / parts} without overflow; the first chunks are the larger ones. */
  private static long boundary(long elements, int index, int parts) {
    return elements / parts * index + Math.min(index, elements % parts);
  }

  /** {@code other} where this is the same memory. */
  Chunk orInPlaceOf(Chunk other) {
    return address() == other.address() ? other : this;
  }

  /** Where it begins in its device's address space. */
  long address() {
    return tensor.address() + tensor.dtype().bytes(first);
  }

  int pieces() {
    long bytes = tensor.dtype().bytes(elements);
    return Math.toIntExact(Math.max(1, (bytes + pieceBytes - 1) / pieceBytes));
  }

  /** Where a piece begins in its tensor, in bytes. */
  long start(int index) {
    return tensor.dtype().bytes(first) + (long) index * pieceBytes;
  }

  /** The bytes of a piece; no copy. */
  ByteBuffer piece(int index) {
    long left = tensor.dtype().bytes(elements) - (long) index * pieceBytes;
    return tensor.byteBuffer(start(index), (int) Math.min(pieceBytes, left));
  }
}
