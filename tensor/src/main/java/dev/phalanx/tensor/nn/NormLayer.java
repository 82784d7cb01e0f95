package dev.phalanx.tensor.nn;

import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;

/** A normalisation of each row. */
public sealed interface NormLayer extends Layer permits LayerNormLayer, RmsNormLayer {
  /** [n, d] to [n, d]. */
  Variable forward(Tape tape, Variable x);
}
