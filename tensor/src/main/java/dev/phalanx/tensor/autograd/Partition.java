package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * Which elements of a whole parameter one of several ranks holds, where they divide a model: blocks
 * of the whole, one below the other in the rank's memory, and then perhaps rows of padding, which
 * stay zero. All blocks have as many columns; a vector has one.
 *
 * <pre>
 *   whole          the second of two ranks holds
 *   | q0 | q1 |     rows     | q1 |      columns   |   |##|
 *   | k0 | k1 |     of each  | k1 |      of all    |   |##|
 *   | v0 | v1 |              | v1 |      rows      |   |##|
 * </pre>
 *
 * @param whole the parameter's shape, of one or two dimensions
 */
public record Partition(Shape whole, List<Block> blocks, long paddingRows) {
  /**
   * Some rows and columns of the whole.
   *
   * @param copies empty where no other rank holds the same
   */
  public record Block(long row, long rows, long column, long columns, Optional<Copies> copies) {
    public long elementCount() {
      return rows * columns;
    }

    private boolean isSamePlace(Block other) {
      return row == other.row
          && rows == other.rows
          && column == other.column
          && columns == other.columns;
    }
  }

  /**
   * A block that several ranks hold, all with the same values.
   *
   * @param group names the ranks, which update their copies alike
   * @param index of this rank's copy; the first one counts where each element counts once
   * @param isPartial whether each copy's gradient is a part of the sum: the copies' gradients must
   *     be added up before the update. Else each is the whole gradient
   * @param isApart whether the ranks of the group have other parameters beside this one, so that it
   *     shares no memory with others where such memory is divided further
   */
  public record Copies(String group, int index, boolean isPartial, boolean isApart) {}

  /**
   * A run of elements in the rank's memory.
   *
   * @param first counted from the first element of the rank's part
   */
  public record Run(long first, long count, Optional<Copies> copies) {}

  public Partition {
    blocks = List.copyOf(blocks);
  }

  /** All of a parameter, on this rank alone. */
  public static Partition whole(Shape shape) {
    return new Partition(shape, List.of(all(shape, Optional.empty())), 0);
  }

  /** All of a parameter, which other ranks hold too. */
  public static Partition copied(Shape shape, Copies copies) {
    return new Partition(shape, List.of(all(shape, Optional.of(copies))), 0);
  }

  private static Block all(Shape shape, Optional<Copies> copies) {
    return new Block(0, rows(shape), 0, columns(shape), copies);
  }

  /** The same elements, which ranks of another group hold too. */
  public Partition alsoHeldBy(Copies copies) {
    return withCopies(before -> Optional.of(copies));
  }

  /**
   * The same elements, of which other ranks hold what is said of each block.
   *
   * @param change from what was said of it before
   */
  public Partition withCopies(UnaryOperator<Optional<Copies>> change) {
    List<Block> changed = new ArrayList<>();
    for (Block block : blocks) {
      changed.add(
          new Block(
              block.row(),
              block.rows(),
              block.column(),
              block.columns(),
              change.apply(block.copies())));
    }
    return new Partition(whole, changed, paddingRows);
  }

  /** Whether one of the blocks is of these rows and columns, whoever else holds them. */
  public boolean hasCopyOf(Block block) {
    return blocks.stream().anyMatch(block::isSamePlace);
  }

  /** Whether some of these elements count here where each element of the whole counts once. */
  public boolean isCounted() {
    return blocks.stream()
        .anyMatch(block -> block.copies().isEmpty() || block.copies().get().index() == 0);
  }

  /** See {@link Copies#isApart}. */
  public boolean isApart() {
    return blocks.stream().anyMatch(block -> block.copies().map(Copies::isApart).orElse(false));
  }

  private static long rows(Shape shape) {
    return shape.rank() == 0 ? 1 : shape.size(0);
  }

  private static long columns(Shape shape) {
    return rows(shape) == 0 ? 0 : shape.elementCount() / rows(shape);
  }

  /** Whether this is all of the parameter. */
  public boolean isWhole() {
    return paddingRows == 0
        && blocks.size() == 1
        && blocks.get(0).elementCount() == whole.elementCount();
  }

  /** The shape of the rank's part, padding among it. */
  public Shape shape() {
    if (isWhole()) {
      return whole;
    }
    long rows = paddingRows + blocks.stream().mapToLong(Block::rows).sum();
    return whole.rank() < 2 ? Shape.of(rows) : Shape.of(rows, blocks.get(0).columns());
  }

  /**
   * The place in the whole of an element of the part.
   *
   * @return negative: padding
   */
  public long wholeElement(long element) {
    if (isWhole()) {
      return element;
    }
    long columns = blocks.get(0).columns();
    long row = element / columns;
    for (Block block : blocks) {
      if (row < block.rows()) {
        return (block.row() + row) * columns(whole) + block.column() + element % columns;
      }
      row -= block.rows();
    }
    return -1;
  }

  /** The part's elements, block after block, without padding. */
  public List<Run> runs() {
    List<Run> runs = new ArrayList<>();
    long first = 0;
    for (Block block : blocks) {
      runs.add(new Run(first, block.elementCount(), block.copies()));
      first += block.elementCount();
    }
    return runs;
  }
}
