/**
 * The training of one job on one rank: what a launcher starts, whatever started it.
 *
 * <p>May use every module but the launcher. {@link dev.phalanx.trainer.TrainingJob} is the place to
 * start reading; {@code config} holds the plan file, {@code model} the model families, {@code data}
 * and {@code tokenizer} what they learn from.
 */
@NullMarked
package dev.phalanx.trainer;

import org.jspecify.annotations.NullMarked;
