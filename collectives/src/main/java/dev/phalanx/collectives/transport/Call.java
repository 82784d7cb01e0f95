package dev.phalanx.collectives.transport;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import org.jspecify.annotations.Nullable;

/**
 * One rank's call of an operation. It travels with every message, so that ranks which call
 * different operations find out at the first byte.
 *
 * @param sequence the operation's number in its group, from 0
 * @param dtype the tensor's type; null for a barrier
 * @param reduction how values become one; null where nothing is reduced
 * @param root the rank that has the values; -1 where all are alike
 * @param elements of the whole tensor
 */
public record Call(
    long sequence,
    Operation operation,
    @Nullable DType dtype,
    @Nullable ReduceOperation reduction,
    int root,
    long elements) {

  /** Bytes of the whole tensor. */
  public long bytes() {
    return dtype == null ? 0 : dtype.bytes(elements);
  }

  /** {@code all_reduce #7}. */
  public String title() {
    return operation.label() + " #" + sequence;
  }

  /** {@code all_reduce #7 (SUM of 1024 FLOAT32)}. */
  public String description() {
    StringBuilder text = new StringBuilder(title());
    if (dtype != null) {
      text.append(" (");
      if (reduction != null) {
        text.append(reduction).append(" of ");
      }
      text.append(elements).append(' ').append(dtype);
      if (root >= 0) {
        text.append(" from rank ").append(root);
      }
      text.append(')');
    }
    return text.toString();
  }
}
