package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Tensor;

/**
 * Where a backward pass starts: a sum over tokens, weighted by a scale that was fixed when it was
 * computed.
 *
 * @param losses [n] FLOAT32, each token's loss without the scale, zero for tokens without a target;
 *     owned by the tape
 */
public record Loss(Tensor losses) {}
