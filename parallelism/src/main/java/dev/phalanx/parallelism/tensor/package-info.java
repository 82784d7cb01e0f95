/**
 * Layers whose matrices several ranks divide (Shoeybi et al., 2019, "Megatron-LM: Training
 * Multi-Billion Parameter Language Models Using Model Parallelism"), with activations divided by
 * tokens in between where that is asked for (Korthikanti et al., 2022, "Reducing Activation
 * Recomputation in Large Transformer Models"). In a group of one rank each is the plain layer.
 *
 * <p>May use {@code dev.phalanx.tensor} and {@code dev.phalanx.collectives}. Start with {@link
 * dev.phalanx.parallelism.tensor.ColumnParallelLinear}.
 */
@NullMarked
package dev.phalanx.parallelism.tensor;

import org.jspecify.annotations.NullMarked;
