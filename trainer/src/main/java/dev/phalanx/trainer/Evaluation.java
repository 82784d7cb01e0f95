package dev.phalanx.trainer;

import java.util.OptionalDouble;

/**
 * How a model does on held-out data.
 *
 * @param loss the mean over so many items
 * @param items tokens or samples, as the job's {@link Unit} says
 * @param accuracy the part of the samples whose class is found; empty where there are no classes
 */
public record Evaluation(double loss, long items, OptionalDouble accuracy) {}
