package dev.phalanx.trainer;

/**
 * What a job is, told once at its start.
 *
 * @param name the plan's name
 * @param firstStep the step that comes first, from 1; more than 1 after a resume
 * @param lastStep the step that comes last
 * @param parameters of the whole model
 * @param engineName as plan files and reports name it
 * @param engine the engine's description
 * @param itemsPerStep in the unit
 */
public record JobSummary(
    String name,
    int worldSize,
    String model,
    long parameters,
    String engineName,
    String engine,
    String precision,
    Unit unit,
    long itemsPerStep,
    long firstStep,
    long lastStep) {}
