package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * A few numbers in host memory: what ranks tell each other, and where a number that a device has
 * computed is read. Counts are exact below 2^53.
 */
final class HostNumbers implements AutoCloseable {
  private final Engine engine;
  private final Tensor tensor; // [n] FLOAT64

  /**
   * @param host an arena on the CPU
   */
  HostNumbers(Arena host, int count) {
    this.engine = host.engine();
    this.tensor = host.allocate(DType.FLOAT64, count);
  }

  double get(int index) {
    return place(index).getDouble();
  }

  void set(int index, double value) {
    place(index).putDouble(value);
  }

  /**
   * Brings a number from its device, once everything that computes it is done.
   *
   * @param value [1] FLOAT64
   */
  double fetch(int index, Tensor value) {
    try (Tensor destination = tensor.slice(0, index, 1)) {
      engine.copy(value, destination);
      engine.synchronize(value.device());
    }
    return get(index);
  }

  /** Reduces each number over all ranks of a group, in place. */
  Work allReduce(Communicator group, ReduceOperation operation) {
    return group.allReduce(tensor, operation);
  }

  /** Fills {@code all} with the numbers of all ranks of a group, rank after rank. */
  Work allGather(Communicator group, HostNumbers all) {
    return group.allGather(tensor, all.tensor);
  }

  private ByteBuffer place(int index) {
    return tensor.byteBuffer((long) index * Double.BYTES, Double.BYTES);
  }

  @Override
  public void close() {
    tensor.close();
  }
}
