/**
 * Starts worker processes, forwards what they write, and ends all of them when one fails.
 *
 * <p>May use {@code event} and the JDK. Start with {@link
 * dev.phalanx.launcher.process.WorkerGroup}. One thread waits in {@code WorkerGroup.await} and
 * decides everything; each worker has two reader threads and a waiter thread that only hand notices
 * over. No path out of here leaves a process behind.
 */
@NullMarked
package dev.phalanx.launcher.process;

import org.jspecify.annotations.NullMarked;
