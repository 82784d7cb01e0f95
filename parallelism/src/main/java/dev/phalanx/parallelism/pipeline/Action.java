package dev.phalanx.parallelism.pipeline;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a rank computes next: one kind of work for one micro-batch on one stage. It prints as
 * PyTorch's schedule tables do: {@code 0F1} is the forward pass of micro-batch 1 on stage 0, {@code
 * 2B0} the backward pass of micro-batch 0 on stage 2. Sends and receives follow from it: a forward
 * pass needs the activation of the stage before, a backward pass the gradient of the stage behind.
 *
 * @param stage from 0, of all stages of the pipeline
 * @param microBatch from 0
 */
public record Action(int stage, Kind kind, int microBatch) {
  private static final Pattern TEXT = Pattern.compile("([0-9]{1,7})([FBIW])([0-9]{1,7})");

  private static final int LONGEST_SHOWN = 40;

  /** The kinds of work. */
  public enum Kind {
    /** The forward pass of the stage's layers. */
    FORWARD('F'),
    /** Gradients of the stage's input and of its weights, in one. */
    BACKWARD('B'),
    /** The gradient of the stage's input alone, which the stage before waits for. */
    BACKWARD_INPUT('I'),
    /** The gradients of the weights that {@link #BACKWARD_INPUT} has left for later. */
    BACKWARD_WEIGHT('W');

    private final char letter;

    Kind(char letter) {
      this.letter = letter;
    }

    public char letter() {
      return letter;
    }

    private static Kind ofLetter(String letter) {
      for (Kind kind : values()) {
        if (kind.letter == letter.charAt(0)) {
          return kind;
        }
      }
      throw new IllegalArgumentException("No kind of work has the letter " + letter);
    }
  }

  /**
   * The inverse of {@link #toString}.
   *
   * @throws ScheduleException where the text is no action
   */
  public static Action parse(String text) {
    Matcher matcher = TEXT.matcher(text);
    if (!matcher.matches()) {
      throw new ScheduleException(
          "'"
              + (text.length() > LONGEST_SHOWN ? text.substring(0, LONGEST_SHOWN) + "…" : text)
              + "' is no action; write stage, F, B, I or W, and micro-batch, as in 0F1 or 2B0");
    }
    return new Action(
        Integer.parseInt(matcher.group(1)),
        Kind.ofLetter(matcher.group(2)),
        Integer.parseInt(matcher.group(3)));
  }

  /** Whether the gradient of the stage's input is there afterwards. */
  boolean givesInputGradient() {
    return kind == Kind.BACKWARD || kind == Kind.BACKWARD_INPUT;
  }

  /** Whether nothing of the micro-batch's forward pass on this stage is needed afterwards. */
  boolean freesActivations() {
    return kind == Kind.BACKWARD || kind == Kind.BACKWARD_WEIGHT;
  }

  @Override
  public String toString() {
    return "" + stage + kind.letter() + microBatch;
  }
}
