package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntToDoubleFunction;

/** One rank's parameters in flat memory, with the engine and the arena that they live in. */
final class FlatModel implements AutoCloseable {
  private final Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
  private final Arena arena = new Arena(engine, Device.CPU);
  private final List<Parameter> parameters = new ArrayList<>();
  private final FlatParameters flat;

  /**
   * @param shapes of the parameters in the order of first use; their initial values are their
   *     elements' numbers plus the seed
   */
  FlatModel(DType computeType, List<Shape> shapes) {
    for (Shape shape : shapes) {
      parameters.add(
          new Parameter("p" + parameters.size(), shape, (seed, element) -> seed + element));
    }
    flat = new FlatParameters(arena, parameters, computeType);
  }

  static FlatModel of(Shape... shapes) {
    return new FlatModel(DType.FLOAT32, List.of(shapes));
  }

  Engine engine() {
    return engine;
  }

  Arena arena() {
    return arena;
  }

  /** In the order of first use. */
  List<Parameter> parameters() {
    return parameters;
  }

  FlatParameters flat() {
    return flat;
  }

  /** The gradients in buckets of about so many bytes. */
  ShardLayout layout(long bucketBytes) {
    return ShardLayout.ofOnePart(ShardLayout.cut(flat.parameters(), bucketBytes), 1);
  }

  /** Sums by all-reduce. */
  OverlappedReducer reducer(Communicator communicator, long bucketBytes, boolean overlap) {
    DeviceCollectives collectives = new DeviceCollectives(arena, communicator);
    return new OverlappedReducer(
        layout(bucketBytes),
        overlap,
        bucket -> collectives.allReduce(flat.gradients().slice(0, bucket.offset(), bucket.count())),
        new Waiting());
  }

  static void write(Tensor tensor, IntToDoubleFunction value) {
    ByteBuffer bytes = tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize()));
    for (int i = 0; i < tensor.elementCount(); i++) {
      bytes.putFloat((float) value.applyAsDouble(i));
    }
  }

  /** Elements of a FLOAT32 or BFLOAT16 tensor. */
  static double[] read(Tensor tensor) {
    ByteBuffer bytes = tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize()));
    double[] values = new double[Math.toIntExact(tensor.elementCount())];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          tensor.dtype() == DType.FLOAT32
              ? bytes.getFloat()
              : Float.intBitsToFloat(bytes.getShort() << 16);
    }
    return values;
  }

  @Override
  public void close() {
    arena.close();
    engine.close();
  }
}
