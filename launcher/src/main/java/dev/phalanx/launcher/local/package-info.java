/**
 * Runs a job's ranks on this host: one worker process for each, or one for all of them. Which they
 * are says a {@link dev.phalanx.launcher.local.Placement}.
 *
 * <p>May use {@code process}, {@code event}, {@code terminal}, the trainer and the collectives'
 * rendezvous. Start with {@link dev.phalanx.launcher.local.LocalJob}.
 */
@NullMarked
package dev.phalanx.launcher.local;

import org.jspecify.annotations.NullMarked;
