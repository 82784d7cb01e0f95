/**
 * Runs a job on this host: one worker process for each rank, or one for all of them.
 *
 * <p>May use {@code process}, {@code event}, {@code terminal}, the trainer and the collectives'
 * rendezvous. Start with {@link dev.phalanx.launcher.local.LocalJob}.
 */
@NullMarked
package dev.phalanx.launcher.local;

import org.jspecify.annotations.NullMarked;
