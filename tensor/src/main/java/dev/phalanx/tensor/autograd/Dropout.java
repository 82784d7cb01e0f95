package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Inverted dropout (Srivastava et al., 2014) whose mask is a function of a seed and each element's
 * global number.
 */
public final class Dropout {
  /**
   * Rows whose elements have numbers that follow each other.
   *
   * @param firstIndex the number of the first element in the sequence of a seed
   */
  public record Run(long rows, long firstIndex) {}

  private Dropout() {}

  /**
   * @param x [n, d]
   * @param probability of an element to become zero; at 0 the value itself is returned
   * @param runs the numbers of all rows of {@code x}, in their order
   */
  public static Variable apply(
      Tape tape, Variable x, double probability, long seed, List<Run> runs) {
    if (probability == 0) {
      return x;
    }
    Tensor y = tape.allocate(x.value().dtype(), x.shape());
    drop(tape.engine(), x.value(), probability, seed, runs, y);
    return tape.record(
        y,
        List.of(x),
        List.of(),
        List.of(),
        List.of(),
        dy -> tape.contributeNew(x, dx -> drop(tape.engine(), dy, probability, seed, runs, dx)));
  }

  private static void drop(
      Engine engine, Tensor x, double probability, long seed, List<Run> runs, Tensor out) {
    if (runs.size() == 1) {
      engine.dropout(x, probability, seed, runs.get(0).firstIndex(), out);
      return;
    }
    long row = 0;
    for (Run run : runs) {
      try (Tensor some = x.slice(0, row, run.rows());
          Tensor result = out.slice(0, row, run.rows())) {
        engine.dropout(some, probability, seed, run.firstIndex(), result);
      }
      row += run.rows();
    }
  }
}
