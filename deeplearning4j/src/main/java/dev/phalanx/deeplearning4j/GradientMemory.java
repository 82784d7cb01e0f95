package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Where a network's flat view of gradients lies: where ranks of a host read each other's memory in
 * such memory, so that nothing is copied on the way; elsewhere in the network's own.
 */
final class GradientMemory implements AutoCloseable {
  private final TrainedNetwork network;
  private final Tensor padded;
  private final Tensor tensor;
  private final @Nullable ByteBuffer moved; // where the view lies now, kept alive with this
  private final boolean isShared;

  private GradientMemory(
      TrainedNetwork network, Tensor padded, @Nullable ByteBuffer moved, boolean isShared) {
    this.network = network;
    this.padded = padded;
    this.tensor = padded.slice(0, 0, network.gradients().length());
    this.moved = moved;
    this.isShared = isShared;
  }

  /**
   * All ranks call it together.
   *
   * @param multipleOf elements are padded to a multiple of this; 1: not at all
   * @param wrap {@code Engine::wrap} where kernels read gradients
   */
  static GradientMemory of(
      TrainedNetwork network,
      Communicator ranks,
      int multipleOf,
      Function<ByteBuffer, Storage> wrap)
      throws InterruptedException {
    long count = network.gradients().length();
    long paddedCount = (count + multipleOf - 1) / multipleOf * multipleOf;
    boolean canMove =
        network.gradients().dataType() == DataType.FLOAT && network.canMoveGradients();
    if (ranks.size() > 1 && canMove) {
      AtomicReference<ByteBuffer> buffer = new AtomicReference<>();
      Optional<Storage> storage =
          ranks.allocateShared(
              DType.FLOAT32.bytes(paddedCount),
              direct -> {
                buffer.set(direct);
                return wrap.apply(direct);
              });
      ByteBuffer memory = buffer.get();
      if (storage.isPresent() && memory != null) {
        return moved(network, memory, storage.get(), paddedCount, true);
      }
    }
    if (paddedCount == count) {
      return new GradientMemory(
          network, NativeMemory.tensor(network.gradients(), wrap), null, false);
    }
    if (!canMove) {
      throw new IllegalArgumentException(
          "Ranks cannot divide the update of this network: its parameters are not FLOAT, or a"
              + " vertex without a layer has some. Use an optimizer that is not sharded.");
    }
    ByteBuffer memory =
        ByteBuffer.allocateDirect(Math.toIntExact(DType.FLOAT32.bytes(paddedCount)));
    return moved(network, memory, wrap.apply(memory), paddedCount, false);
  }

  private static GradientMemory moved(
      TrainedNetwork network,
      ByteBuffer memory,
      Storage storage,
      long paddedCount,
      boolean isShared) {
    network.moveGradients(NativeMemory.floats(memory, network.gradients().length()));
    Tensor padded = Tensor.over(storage, 0, DType.FLOAT32, Shape.of(paddedCount));
    return new GradientMemory(network, padded, memory, isShared);
  }

  /** The view and its padding. */
  Tensor padded() {
    return padded;
  }

  /** [n], of the network's type. */
  Tensor tensor() {
    return tensor;
  }

  /** Whether other ranks read it where it lies. */
  boolean isShared() {
    return isShared;
  }

  /** Gives the network memory of its own again, before the ranks' is gone. */
  @Override
  public void close() {
    padded.close();
    if (moved != null) {
      network.moveGradients(Nd4j.createBuffer(DataType.FLOAT, network.gradients().length(), true));
    }
  }
}
