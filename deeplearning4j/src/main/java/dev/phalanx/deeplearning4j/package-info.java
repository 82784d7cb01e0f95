/**
 * Trains networks of Deeplearning4j on several ranks: threads of one JVM ({@link
 * dev.phalanx.deeplearning4j.ParallelTraining}) or processes ({@link
 * dev.phalanx.deeplearning4j.DataParallelNetwork}).
 *
 * <p>May use tensors, collectives, sharding and checkpoints; start reading at {@link
 * dev.phalanx.deeplearning4j.GradientReducer}, which is the walk of one gradient. What networks
 * learn from is {@link dev.phalanx.deeplearning4j.Samples}.
 */
@NullMarked
package dev.phalanx.deeplearning4j;

import org.jspecify.annotations.NullMarked;
