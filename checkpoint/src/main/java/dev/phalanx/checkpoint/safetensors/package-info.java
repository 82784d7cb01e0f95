/**
 * The safetensors format: a header in JSON, then the tensors' bytes. Reading trusts nothing that a
 * file says about itself.
 *
 * <p>May use tensors. {@link dev.phalanx.checkpoint.safetensors.SafetensorsFile} reads, {@link
 * dev.phalanx.checkpoint.safetensors.SafetensorsWriter} writes.
 */
@NullMarked
package dev.phalanx.checkpoint.safetensors;

import org.jspecify.annotations.NullMarked;
