package dev.phalanx.trainer.model;

/**
 * What a pass over a micro-batch is told by whoever runs steps.
 *
 * @param dropoutSeed the seed of this step's masks; read only while training
 * @param firstSequence the number of the first sequence within the global batch, so that masks do
 *     not depend on the layout
 * @param tokenWeight what one token's loss counts in the backward pass; read only while training
 */
public record PassSetup(long dropoutSeed, long firstSequence, double tokenWeight) {
  /** Of a pass that is not followed by a backward pass. */
  public static final PassSetup NOTHING_LEARNS = new PassSetup(0, 0, 0);
}
