/**
 * Gradients summed over data-parallel ranks with fewer bytes than their own, one codec a file.
 *
 * <p>May use {@code tensor} and {@code collectives}. Start with {@link
 * dev.phalanx.sharding.compression.Compression}, the settings, then {@link
 * dev.phalanx.sharding.compression.CompressedReduction}, what they make for each bucket.
 */
@NullMarked
package dev.phalanx.sharding.compression;

import org.jspecify.annotations.NullMarked;
