/**
 * Tensors on native memory, the arenas that own them, and the {@link dev.phalanx.tensor.Engine}
 * interface of kernels that a tensor library implements.
 *
 * <p>Uses nothing but the JDK. Engines are found with {@link dev.phalanx.tensor.Engines}; {@link
 * dev.phalanx.tensor.Tensor} and {@link dev.phalanx.tensor.Arena} are the place to start reading,
 * then {@link dev.phalanx.tensor.Engine}.
 */
@NullMarked
package dev.phalanx.tensor;

import org.jspecify.annotations.NullMarked;
