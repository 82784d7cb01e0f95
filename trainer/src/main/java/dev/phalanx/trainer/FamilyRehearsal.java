package dev.phalanx.trainer;

import dev.phalanx.trainer.rehearsal.SentOperations;

/**
 * What rank 0 of a job holds, and what it sends in a step, where its other ranks are pretended.
 *
 * @param parameters of the model
 * @param precision what it computes in
 * @param memory as the report's
 * @param sent for the sake of the data axis, which alone models of other families are divided along
 */
public record FamilyRehearsal(
    long parameters, String precision, TrainedModel.Memory memory, SentOperations sent) {}
