package dev.phalanx.trainer.rehearsal;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Tensor;

/**
 * Ranks that all have what this one has, of which each sum is this rank's own part of it. Tensors
 * lie in real memory of the host; what is received from one rank alone stays as it is, and so do
 * the others' parts of a tensor that is gathered where it lies.
 */
final class AlikeCommunicator extends RehearsalCommunicator {
  private static final long CHUNK_BYTES = 1 << 30;

  AlikeCommunicator(String name, int rank, int size) {
    super(name, rank, size);
  }

  @Override
  public Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation) {
    copy(input, rank() * output.byteSize(), output, 0, output.byteSize());
    return super.reduceScatter(input, output, operation);
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    for (int rank = 0; rank < size() && input.storage() != output.storage(); rank++) {
      copy(input, 0, output, rank * input.byteSize(), input.byteSize());
    }
    return super.allGather(input, output);
  }

  @Override
  public Work allGather(Tensor input, Tensor output, long[] counts) {
    long first = 0;
    for (long count : counts) {
      long bytes = output.dtype().bytes(count);
      if (input.storage() != output.storage()) {
        copy(input, 0, output, first, Math.min(bytes, input.byteSize()));
      }
      first += bytes;
    }
    return super.allGather(input, output, counts);
  }

  @Override
  public Work allToAll(Tensor input, Tensor output) {
    long bytes = input.byteSize() / size();
    for (int rank = 0; rank < size(); rank++) {
      copy(input, rank() * bytes, output, rank * bytes, bytes);
    }
    return super.allToAll(input, output);
  }

  private static void copy(Tensor from, long fromByte, Tensor into, long intoByte, long bytes) {
    for (long done = 0; done < bytes; done += CHUNK_BYTES) {
      int count = (int) Math.min(CHUNK_BYTES, bytes - done);
      into.byteBuffer(intoByte + done, count).put(from.byteBuffer(fromByte + done, count));
    }
  }
}
