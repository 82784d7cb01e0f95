/**
 * Collectives on tensors of any device, for code that trains: what the communicators cannot read is
 * copied, and waits are counted.
 *
 * <p>Uses {@code dev.phalanx.tensor} and the communicators. Start with {@link
 * dev.phalanx.collectives.device.DeviceCollectives}.
 */
@NullMarked
package dev.phalanx.collectives.device;

import org.jspecify.annotations.NullMarked;
