/**
 * The {@code phalanx} command: what a user types, one class a subcommand.
 *
 * <p>May use everything. Start with {@link dev.phalanx.launcher.command.Main}; errors become
 * messages and exit statuses there and nowhere else.
 */
@NullMarked
package dev.phalanx.launcher.command;

import org.jspecify.annotations.NullMarked;
