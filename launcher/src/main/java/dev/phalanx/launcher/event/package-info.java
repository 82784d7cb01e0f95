/**
 * What the launcher tells a worker and hears from it: values, and their form as lines of JSON.
 *
 * <p>May use the trainer's records and Jackson. Start with {@link
 * dev.phalanx.launcher.event.WorkerEvent} and {@link dev.phalanx.launcher.event.Assignment}; {@code
 * EventCodec} describes the channel's form.
 */
@NullMarked
package dev.phalanx.launcher.event;

import org.jspecify.annotations.NullMarked;
