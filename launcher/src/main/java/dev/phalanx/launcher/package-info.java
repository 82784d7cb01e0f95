/**
 * The {@code phalanx} command: what a user types, what comes out, and with which exit status.
 *
 * <p>May use every other module. {@link dev.phalanx.launcher.command.Main} is the place to start
 * reading; {@code command} holds one command a file, {@code process} starts and watches worker
 * processes, {@code worker} is what runs inside them, {@code event} what the two tell each other,
 * {@code terminal} what a user sees. {@link dev.phalanx.launcher.ExitStatus} is the one table of
 * exit statuses.
 */
@NullMarked
package dev.phalanx.launcher;

import org.jspecify.annotations.NullMarked;
