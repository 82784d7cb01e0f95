/**
 * What a user sees while a job runs and when it ends: one live line on a terminal, plain lines
 * elsewhere, a summary.
 *
 * <p>May use {@code event} and the trainer's records. Start with {@link
 * dev.phalanx.launcher.terminal.Console}: it is the only writer, so that log lines of workers and
 * the live line do not mix.
 */
@NullMarked
package dev.phalanx.launcher.terminal;

import org.jspecify.annotations.NullMarked;
