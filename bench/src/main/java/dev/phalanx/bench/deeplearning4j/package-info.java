/**
 * Deeplearning4j networks trained in parallel, timed beside Deeplearning4j's own ways ({@link
 * dev.phalanx.bench.deeplearning4j.TrainingSpeed}) and taught to tell clothes apart ({@link
 * dev.phalanx.bench.deeplearning4j.FashionMnist}).
 */
@NullMarked
package dev.phalanx.bench.deeplearning4j;

import org.jspecify.annotations.NullMarked;
