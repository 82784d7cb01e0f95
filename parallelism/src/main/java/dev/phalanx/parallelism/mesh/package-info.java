/**
 * How the ranks of a job are arranged: axes, coordinates and groups, all of them values; and what
 * groups of ranks that divide something have in common.
 *
 * <p>May use {@code dev.phalanx.tensor} and {@code dev.phalanx.collectives}. Start with {@link
 * dev.phalanx.parallelism.mesh.DeviceMesh}.
 */
@NullMarked
package dev.phalanx.parallelism.mesh;

import org.jspecify.annotations.NullMarked;
