package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Rows of a table by token, plus rows of a second table by position where there is one: ids [n] to
 * [n, d].
 */
public final class Embedding {
  private Embedding() {}

  /**
   * @param tokens [n] INT64
   * @param positions [n] INT64; read only with {@code positionTable}
   */
  public static Variable apply(
      Tape tape,
      Parameter tokenTable,
      Tensor tokens,
      @Nullable Parameter positionTable,
      Tensor positions) {
    Engine engine = tape.engine();
    DType dtype = tokenTable.value().dtype();
    Tensor x = tape.allocate(dtype, Shape.of(tokens.size(0), tokenTable.shape().size(1)));
    engine.gatherRows(tokenTable.value(), tokens, x, false);
    if (positionTable != null) {
      engine.gatherRows(positionTable.value(), positions, x, true);
    }
    List<Parameter> parameters =
        positionTable == null ? List.of(tokenTable) : List.of(tokenTable, positionTable);
    return tape.record(
        x,
        List.of(),
        parameters,
        List.of(),
        List.of(),
        dx -> {
          scatter(tape, dx, tokens, tokenTable);
          if (positionTable != null) {
            scatter(tape, dx, positions, positionTable);
          }
        });
  }

  /** Adds rows of a gradient [n, d] to a table's, by their numbers [n] INT64. */
  public static void scatter(Tape tape, Tensor dx, Tensor ids, Parameter table) {
    tape.contribute(
        table,
        (dTable, accumulate) -> {
          if (!accumulate) {
            tape.engine().fill(dTable, 0);
          }
          tape.engine().scatterAddRows(dx, ids, dTable);
        });
  }
}
