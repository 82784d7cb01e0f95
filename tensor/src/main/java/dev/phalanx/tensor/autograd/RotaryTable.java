package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Tensor;

/**
 * The angles of rotary position embedding for a run of positions; see {@code Engine.rotary}.
 *
 * @param cosine [t, head size / 2] FLOAT32
 * @param sine [t, head size / 2] FLOAT32
 */
public record RotaryTable(Tensor cosine, Tensor sine) {
  /** The angles of {@code length} positions from {@code start}. */
  public RotaryTable slice(long start, long length) {
    return new RotaryTable(cosine.slice(0, start, length), sine.slice(0, start, length));
  }
}
