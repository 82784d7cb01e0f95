/**
 * Measurements of the collectives, run by workers as a training job is.
 *
 * <p>Start with {@link dev.phalanx.launcher.bench.CollectiveBenchmark}.
 */
@NullMarked
package dev.phalanx.launcher.bench;

import org.jspecify.annotations.NullMarked;
