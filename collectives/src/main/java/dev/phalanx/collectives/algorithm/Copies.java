package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;

/** Copies in host memory. */
public final class Copies {
  /** Less than what a buffer can hold. */
  private static final int PIECE_BYTES = 1 << 20;

  private Copies() {}

  /** Copies a whole tensor's bytes into another of the same size. */
  public static void copy(Tensor from, Tensor into) {
    copy(Chunk.whole(from, PIECE_BYTES), Chunk.whole(into, PIECE_BYTES));
  }

  /** Nothing happens where both are the same memory. */
  static void copy(Chunk from, Chunk into) {
    if (from.address() == into.address()) {
      return;
    }
    for (int piece = 0; piece < from.pieces(); piece++) {
      copy(from, into, piece);
    }
  }

  /** One piece, if there is one of that number. */
  static void copy(Chunk from, Chunk into, int piece) {
    if (piece < from.pieces() && from.address() != into.address()) {
      into.piece(piece).put(from.piece(piece));
    }
  }
}
