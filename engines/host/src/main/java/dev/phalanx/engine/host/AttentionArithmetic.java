package dev.phalanx.engine.host;

import dev.phalanx.engine.host.BlockAttention.Block;
import dev.phalanx.engine.host.BlockAttention.Sequence;
import dev.phalanx.tensor.Tensor;

/**
 * What {@link BlockAttention} needs beside products of matrices: arithmetic on one block's scores,
 * in FLOAT32. An object has the memory of one block at a time.
 */
public interface AttentionArithmetic {
  /** Sets all elements of a tensor. */
  void fill(Tensor tensor, double value);

  /**
   * One sequence of a tensor to be read: where it lies, or a copy where it is not FLOAT32.
   *
   * @param number which tensor of the call it is, from 0; copies of different ones live together
   */
  Sequence read(Tensor tensor, long batch, int number);

  /** Where a sequence is to be written: itself, or memory for its FLOAT32 elements. */
  Sequence place(Tensor tensor, long batch, int number);

  /** Puts a sequence whose elements were written beside its place there. */
  void write(Tensor tensor, long batch, int number);

  /**
   * What follows concerns this entry of logSumExp [b, h, t], until the next call or {@link #end}.
   */
  void begin(Tensor logSumExp, long batch);

  void end();

  /** Memory for a block's scores [heads, rows, keys], in rows of its stride: its address. */
  long scores(Block block);

  /**
   * Takes the exponential of each score less the largest of its row, and keeps both that and the
   * row's sum for {@link #finish}. Where the block is causal, scores behind the diagonal count as
   * minus infinity.
   */
  void exponentials(Block block);

  /**
   * Divides the block's rows of {@code y}, each by its sum, and sets logSumExp.
   *
   * @param width of a head
   */
  void finish(Block block, Sequence y, long width);

  /** Makes the scores probabilities: the exponential of each less its row's logSumExp. */
  void probabilities(Block block);

  /** Memory for the gradients of a block's probabilities, likewise: its address. */
  long slopes(Block block);

  /**
   * Makes the gradients of the probabilities those of the scores, P * (dP - D), where D is the sum
   * of dY * Y over a row's width.
   */
  void slopesOfScores(Block block, Sequence y, Sequence dY, long width);

  /**
   * Rounds a block's scores, as they are now, to BFLOAT16: the copy's address, likewise in rows.
   */
  default long narrowScores(Block block) {
    throw new UnsupportedOperationException("factors of BFLOAT16");
  }

  /** Rounds its slopes likewise, perhaps into the place of the rounded scores. */
  default long narrowSlopes(Block block) {
    throw new UnsupportedOperationException("factors of BFLOAT16");
  }
}
