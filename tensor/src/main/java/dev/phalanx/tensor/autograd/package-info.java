/**
 * Reverse-mode differentiation over the engine's kernels.
 *
 * <p>Uses {@code dev.phalanx.tensor} only. {@link dev.phalanx.tensor.autograd.Tape} is the place to
 * start reading; each operation is one file with its forward and its backward side by side, {@link
 * dev.phalanx.tensor.autograd.Gelu} the shortest of them.
 */
@NullMarked
package dev.phalanx.tensor.autograd;

import org.jspecify.annotations.NullMarked;
