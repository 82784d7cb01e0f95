package dev.phalanx.collectives.transport;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import org.jspecify.annotations.Nullable;

/**
 * One rank's call of an operation. It travels with every message, so that ranks which call
 * different operations find out at the first byte.
 *
 * @param sequence the operation's number in its group, from 0; 0 of a transfer between two ranks
 * @param dtype the tensor's type; null for a barrier
 * @param reduction how values become one; null where nothing is reduced
 * @param root the rank that has or gets the values; -1 where all are alike
 * @param elements of the whole tensor, or of all that the ranks have together; {@link #UNEQUAL}
 *     where the ranks have different ones, and then on a message {@link #ofPair} tells those that
 *     its sender has for its receiver
 * @param tag of a transfer between two ranks; of an operation to which every rank gives the counts
 *     of all, their hash; 0 otherwise
 */
public record Call(
    long sequence,
    Operation operation,
    @Nullable DType dtype,
    @Nullable ReduceOperation reduction,
    int root,
    long elements,
    int tag) {
  /** The {@link #elements} of an operation for which each pair of ranks has its own. */
  public static final long UNEQUAL = -1;

  /** Before the first operation. */
  public static final Call NONE = new Call(0, Operation.BARRIER, null, null, -1, 0);

  /** An operation of the whole group. */
  public Call(
      long sequence,
      Operation operation,
      @Nullable DType dtype,
      @Nullable ReduceOperation reduction,
      int root,
      long elements) {
    this(sequence, operation, dtype, reduction, root, elements, 0);
  }

  /** A transfer between two ranks. */
  public static Call transfer(DType dtype, long elements, int tag) {
    return new Call(0, Operation.TRANSFER, dtype, null, -1, elements, tag);
  }

  /**
   * What stands on the messages between two ranks in an {@link #UNEQUAL} call: a number below that,
   * so that it is not taken for the elements of a whole tensor.
   */
  public Call ofPair(long count) {
    return withElements(UNEQUAL - 1 - count);
  }

  private boolean isOfPair() {
    return elements < UNEQUAL;
  }

  /** The elements that {@link #ofPair} was told. */
  public long pairElements() {
    return UNEQUAL - 1 - elements;
  }

  /** The same call with other counts, or for another transfer. */
  public Call withTag(int other) {
    return new Call(sequence, operation, dtype, reduction, root, elements, other);
  }

  private Call withElements(long others) {
    return new Call(sequence, operation, dtype, reduction, root, others, tag);
  }

  /** Whether this call of the whole group is what a message of {@code theirs} belongs to. */
  public boolean includes(Call theirs) {
    return equals(theirs.isOfPair() ? theirs.withElements(UNEQUAL) : theirs);
  }

  /** Whether it concerns two ranks only. */
  public boolean isTransfer() {
    return operation == Operation.TRANSFER;
  }

  /** {@code all_reduce #7}. */
  public String title() {
    return isTransfer()
        ? operation.label() + " of tag " + tag
        : operation.label() + " #" + sequence;
  }

  /** {@code all_reduce #7 (SUM of 1024 FLOAT32)}. */
  public String description() {
    StringBuilder text = new StringBuilder(title());
    if (dtype != null) {
      text.append(" (");
      if (reduction != null) {
        text.append(reduction).append(" of ");
      }
      if (elements >= 0) {
        text.append(elements).append(' ');
      }
      text.append(dtype);
      if (elements < 0) {
        text.append(" in unequal parts");
      }
      if (isOfPair()) {
        text.append(", here ").append(pairElements());
      }
      if (root >= 0) {
        text.append(" with root ").append(root);
      }
      text.append(')');
    }
    return text.toString();
  }
}
