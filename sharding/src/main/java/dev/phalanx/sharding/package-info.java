/**
 * The flat memory of a model: parameters, gradient buckets, their overlapped reduction, and
 * optimizers on flat memory.
 *
 * <p>May use {@code tensor}, {@code collectives} and {@code parallelism.mesh}. Start with {@link
 * dev.phalanx.sharding.FlatParameters}, then {@link dev.phalanx.sharding.OverlappedReducer}.
 */
@NullMarked
package dev.phalanx.sharding;

import org.jspecify.annotations.NullMarked;
