package dev.phalanx.collectives;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * What a rank may hand over to the operations of its group, checked before anything is sent. Each
 * check throws an {@link IllegalArgumentException} that names the group. For those who write
 * communicators.
 *
 * @param memory where tensors must lie, as messages say it: {@code in host memory}
 * @param reads whether they may lie on a device
 */
public record Arguments(String group, int rank, int size, String memory, Predicate<Device> reads) {
  public void requireUsable(Tensor tensor) {
    if (!tensor.isContiguous() || !reads.test(tensor.device())) {
      throw wrong("a contiguous tensor " + memory + " is needed, not " + tensor);
    }
  }

  public void requireRoot(int root) {
    requireRank(root, "the root");
  }

  private void requireRank(int other, String part) {
    if (other < 0 || other >= size) {
      throw wrong("rank " + other + " cannot be " + part);
    }
  }

  private void requireSameType(Tensor one, Tensor other) {
    if (one.dtype() != other.dtype()) {
      throw wrong(one + " and " + other + " have different types");
    }
  }

  private void requireApart(Tensor input, Tensor output) {
    if (input.address() < output.address() + output.byteSize()
        && output.address() < input.address() + input.byteSize()) {
      throw wrong(
          "the output "
              + output
              + " needs other memory than the input "
              + input
              + ", and overlaps");
    }
  }

  /** A tensor of as many equal parts as there are ranks. */
  public void requireParts(Tensor whole, Tensor part) {
    requireUsable(whole);
    requireUsable(part);
    requireSameType(whole, part);
    if (part.elementCount() * size != whole.elementCount()) {
      throw wrong(whole + " is not made of parts " + part);
    }
  }

  /** The tensor that only the root has, checked; null on the others. */
  public @Nullable Tensor requireWholeOnRoot(@Nullable Tensor whole, Tensor part, int root) {
    requireRoot(root);
    requireUsable(part);
    if (rank != root) {
      return null;
    }
    if (whole == null) {
      throw wrong("the root needs the whole tensor, and has null");
    }
    requireParts(whole, part);
    return whole;
  }

  /** A copy: the caller may use the array again before the operation runs. */
  private long[] requireCounts(long[] counts, Tensor whole) {
    long[] copy = counts.clone();
    if (copy.length != size
        || Arrays.stream(copy).anyMatch(count -> count < 0)
        || Arrays.stream(copy).sum() != whole.elementCount()) {
      throw wrong(whole + " is not made of parts of " + Arrays.toString(copy) + " elements");
    }
    return copy;
  }

  /**
   * This rank's part, and all of them.
   *
   * @return a copy of the counts
   */
  public long[] requireUnequalParts(Tensor part, Tensor whole, long[] counts) {
    requireUsable(part);
    requireUsable(whole);
    requireSameType(part, whole);
    long[] copy = requireCounts(counts, whole);
    if (part.elementCount() != copy[rank]) {
      throw wrong(part + " is not the part of " + copy[rank] + " elements of rank " + rank);
    }
    return copy;
  }

  /** Equal counts of a tensor's elements, one for each rank. */
  public long[] requireEqualCounts(Tensor whole) {
    if (whole.elementCount() % size != 0) {
      throw wrong(whole + " is not made of " + size + " equal parts");
    }
    long[] counts = new long[size];
    Arrays.fill(counts, whole.elementCount() / size);
    return counts;
  }

  /** What a rank sends and receives in an all-to-all; copies of the counts. */
  public Exchanged requireExchanged(
      Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    requireUsable(input);
    requireUsable(output);
    requireSameType(input, output);
    requireApart(input, output);
    long[] sends = requireCounts(inputCounts, input);
    long[] receives = requireCounts(outputCounts, output);
    if (sends[rank] != receives[rank]) {
      throw wrong(
          "rank "
              + rank
              + " cannot send itself "
              + sends[rank]
              + " elements and receive "
              + receives[rank]);
    }
    return new Exchanged(sends, receives);
  }

  /** Elements to and from each rank. */
  public record Exchanged(long[] sends, long[] receives) {}

  public void requireTransfers(List<PointToPoint> transfers) {
    for (PointToPoint transfer : transfers) {
      requireUsable(transfer.tensor());
      requireRank(transfer.peer(), "the peer");
      if (transfer.peer() == rank || transfer.tag() < 0) {
        throw wrong("rank " + rank + " cannot do the transfer " + transfer);
      }
    }
  }

  private IllegalArgumentException wrong(String what) {
    return new IllegalArgumentException("In group " + group + " of " + size + " ranks, " + what);
  }
}
