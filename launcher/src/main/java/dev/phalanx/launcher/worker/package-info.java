/**
 * What runs inside a worker process: it takes its assignment from standard input, runs one rank or
 * several, and tells what happens on standard output.
 *
 * <p>May use {@code event}, the trainer and the collectives. Start with {@link
 * dev.phalanx.launcher.worker.WorkerMain}.
 */
@NullMarked
package dev.phalanx.launcher.worker;

import org.jspecify.annotations.NullMarked;
