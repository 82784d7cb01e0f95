package dev.phalanx.parallelism.pipeline;

import dev.phalanx.collectives.Communicator;

/**
 * One way from one rank of a pipeline to another, for activations or for gradients. Each way has a
 * group of its two ranks to itself, so that nothing waits behind what goes another way.
 *
 * @param from a rank's place in the pipeline
 * @param to the place of the rank that receives
 */
public record StageChannel(int from, int to, boolean isGradient) {
  /** A channel's name for messages. */
  public String label() {
    return (isGradient ? "gradients " : "activations ") + from + " to " + to;
  }

  /** The other rank's number in the group of a channel. */
  static int peer(Communicator ranks) {
    return 1 - ranks.rank();
  }
}
