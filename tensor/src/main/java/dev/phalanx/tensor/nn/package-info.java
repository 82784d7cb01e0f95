/**
 * Layers: parameters and how a tape applies them.
 *
 * <p>Uses {@code dev.phalanx.tensor} and its {@code autograd}. A layer makes its parameters when it
 * is made, unbound; whoever owns the model's flat memory binds them. Start with {@link
 * dev.phalanx.tensor.nn.LayerNormLayer}.
 */
@NullMarked
package dev.phalanx.tensor.nn;

import org.jspecify.annotations.NullMarked;
