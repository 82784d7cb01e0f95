package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What NCCL has no operation for, or only in its newest versions, by sends and receives that begin
 * together. A rank's own part is copied.
 *
 * <p>Parts without elements are left out on both sides.
 */
final class PairwiseTransfers {
  private final Nccl nccl;
  private final int rank;
  private final int size;

  PairwiseTransfers(Nccl nccl, int rank, int size) {
    this.nccl = nccl;
    this.rank = rank;
    this.size = size;
  }

  /** A contiguous run of a tensor's elements, as NCCL wants it. */
  private record Elements(long address, int type, int bytesEach) {
    static Elements of(Tensor tensor) {
      return new Elements(
          tensor.address(), NcclConstants.type(tensor.dtype()), tensor.dtype().byteSize());
    }

    long at(long offset) {
      return address + offset * bytesEach;
    }
  }

  /**
   * The root receives everybody's part.
   *
   * @param output null on all others
   */
  void gather(Tensor input, @Nullable Tensor output, int root) {
    long count = input.elementCount();
    Elements part = Elements.of(input);
    if (output == null) {
      grouped(() -> send(part, 0, count, root));
      return;
    }
    Elements whole = Elements.of(output);
    copy(part, 0, whole, rank * count, count);
    grouped(
        () -> {
          for (int peer = 0; peer < size; peer++) {
            if (peer != rank) {
              receive(whole, peer * count, count, peer);
            }
          }
        });
  }

  /**
   * The root sends everybody's part.
   *
   * @param input null on all others
   */
  void scatter(@Nullable Tensor input, Tensor output, int root) {
    long count = output.elementCount();
    Elements part = Elements.of(output);
    if (input == null) {
      grouped(() -> receive(part, 0, count, root));
      return;
    }
    Elements whole = Elements.of(input);
    copy(whole, rank * count, part, 0, count);
    grouped(
        () -> {
          for (int peer = 0; peer < size; peer++) {
            if (peer != rank) {
              send(whole, peer * count, count, peer);
            }
          }
        });
  }

  /** Part j of rank i becomes part i of rank j. */
  void allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts) {
    Elements from = Elements.of(input);
    Elements to = Elements.of(output);
    copy(from, sum(inputCounts, rank), to, sum(outputCounts, rank), inputCounts[rank]);
    grouped(
        () -> {
          long inputOffset = 0;
          long outputOffset = 0;
          for (int peer = 0; peer < size; peer++) {
            if (peer != rank) {
              send(from, inputOffset, inputCounts[peer], peer);
              receive(to, outputOffset, outputCounts[peer], peer);
            }
            inputOffset += inputCounts[peer];
            outputOffset += outputCounts[peer];
          }
        });
  }

  /** Every rank's part goes to all: a broadcast from each. */
  void allGather(Tensor input, Tensor output, long[] counts) {
    Elements part = Elements.of(input);
    Elements whole = Elements.of(output);
    grouped(
        () -> {
          long offset = 0;
          for (int root = 0; root < size; root++) {
            if (counts[root] > 0) {
              long place = whole.at(offset);
              long source = root == rank ? part.address() : place;
              nccl.broadcast(source, place, counts[root], whole.type(), root);
            }
            offset += counts[root];
          }
        });
  }

  /** In this order: between two ranks the first send meets the first receive. */
  void exchange(List<PointToPoint> transfers) {
    grouped(
        () -> {
          for (PointToPoint transfer : transfers) {
            Tensor tensor = transfer.tensor();
            if (transfer instanceof PointToPoint.Send) {
              send(Elements.of(tensor), 0, tensor.elementCount(), transfer.peer());
            } else {
              receive(Elements.of(tensor), 0, tensor.elementCount(), transfer.peer());
            }
          }
        });
  }

  private void send(Elements from, long offset, long count, int peer) {
    if (count > 0) {
      nccl.send(from.at(offset), count, from.type(), peer);
    }
  }

  private void receive(Elements to, long offset, long count, int peer) {
    if (count > 0) {
      nccl.receive(to.at(offset), count, to.type(), peer);
    }
  }

  private void copy(Elements from, long fromOffset, Elements to, long toOffset, long count) {
    long source = from.at(fromOffset);
    long target = to.at(toOffset);
    if (count > 0 && source != target) {
      nccl.copy(source, target, count * from.bytesEach());
    }
  }

  /** NCCL counts the groups of a thread: whatever happens inside, each is ended. */
  private void grouped(Runnable calls) {
    nccl.beginGroup();
    try {
      calls.run();
    } catch (RuntimeException e) {
      try {
        nccl.endGroup();
      } catch (NcclError second) {
        e.addSuppressed(second);
      }
      throw e;
    }
    nccl.endGroup();
  }

  private static long sum(long[] counts, int end) {
    long sum = 0;
    for (int i = 0; i < end; i++) {
      sum += counts[i];
    }
    return sum;
  }
}
