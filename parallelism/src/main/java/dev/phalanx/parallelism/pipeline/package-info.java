/**
 * Pipeline schedules as tables of actions: made by name or read from a file, proven to come to an
 * end, timed and drawn.
 *
 * <p>May use nothing but the JDK. Start with {@link
 * dev.phalanx.parallelism.pipeline.ScheduleTable}.
 */
@NullMarked
package dev.phalanx.parallelism.pipeline;

import org.jspecify.annotations.NullMarked;
