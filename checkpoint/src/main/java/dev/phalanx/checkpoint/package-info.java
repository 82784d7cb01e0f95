/**
 * Checkpoints: a training job's state in a directory that appears as a whole or not at all.
 *
 * <p>May use tensors and the mesh. {@link dev.phalanx.checkpoint.LocalCheckpointStore} is the place
 * to start reading; {@code docs/checkpoint-format.md} has the layout. The files of tensors are
 * safetensors, in {@code safetensors}.
 */
@NullMarked
package dev.phalanx.checkpoint;

import org.jspecify.annotations.NullMarked;
