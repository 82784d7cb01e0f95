/**
 * What a data-parallel rank holds of a model, ZeRO's stages, gradient buckets, their overlapped
 * reduction, and optimizers on flat memory.
 *
 * <p>May use {@code tensor}, {@code collectives} and {@code parallelism.mesh}. Start with {@link
 * dev.phalanx.sharding.ModelMemory}, then {@link dev.phalanx.sharding.OverlappedReducer}.
 */
@NullMarked
package dev.phalanx.sharding;

import org.jspecify.annotations.NullMarked;
