/**
 * The model families: one transformer whose parts a configuration chooses, its initial weights, and
 * Hugging Face directories.
 *
 * <p>May use {@code tensor}, {@code sharding} and {@code checkpoint}. Start with {@link
 * dev.phalanx.trainer.model.Transformer}.
 */
@NullMarked
package dev.phalanx.trainer.model;

import org.jspecify.annotations.NullMarked;
