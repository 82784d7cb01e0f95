/**
 * What models learn from: token sources, the order of samples and the batches made of them.
 *
 * <p>May use {@code dev.phalanx.trainer.tokenizer} and {@code dev.phalanx.tensor.CounterRandom}.
 * Start with {@link dev.phalanx.trainer.data.TrainingData}, which puts a {@link
 * dev.phalanx.trainer.data.TokenSource} and a {@link dev.phalanx.trainer.data.SampleOrder} together
 * into a {@link dev.phalanx.trainer.data.BatchSource}. {@code docs/data-format.md} has token files.
 */
@NullMarked
package dev.phalanx.trainer.data;

import org.jspecify.annotations.NullMarked;
