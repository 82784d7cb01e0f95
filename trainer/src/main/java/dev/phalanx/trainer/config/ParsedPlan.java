package dev.phalanx.trainer.config;

/**
 * A plan with the places where its values were written, which later checks need for their messages.
 *
 * @param config complete: defaults are filled in
 * @param positions of the keys that were written
 */
public record ParsedPlan(JobConfig config, Positions positions) {}
