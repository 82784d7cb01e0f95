package dev.phalanx.parallelism.pipeline;

/** How long actions and messages take, in any one unit. */
public interface StageCosts {
  double of(Action action);

  /** From the end of an action to the arrival of its result on another rank. */
  double hop();

  /**
   * Equal stages.
   *
   * @param forward of one micro-batch on one stage
   * @param backwardInput the gradient of the stage's input
   * @param backwardWeight the gradients of its weights; a whole backward pass takes both
   */
  static StageCosts uniform(
      double forward, double backwardInput, double backwardWeight, double hop) {
    return new StageCosts() {
      @Override
      public double of(Action action) {
        return switch (action.kind()) {
          case FORWARD -> forward;
          case BACKWARD -> backwardInput + backwardWeight;
          case BACKWARD_INPUT -> backwardInput;
          case BACKWARD_WEIGHT -> backwardWeight;
        };
      }

      @Override
      public double hop() {
        return hop;
      }
    };
  }
}
