/**
 * What a rank would hold, compute and send, found by running its own code with an engine that
 * computes nothing and communicators that send nothing.
 *
 * <p>May use {@code dev.phalanx.tensor} and {@code dev.phalanx.collectives}. Start with {@link
 * dev.phalanx.trainer.Rehearsal}.
 */
@NullMarked
package dev.phalanx.trainer.rehearsal;

import org.jspecify.annotations.NullMarked;
