package dev.phalanx.trainer;

import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.sharding.PartitionCopy;
import dev.phalanx.sharding.WholeTensors;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Brings what ranks that divide a model hold of it together on rank 0, for a checkpoint: whole
 * tensors, whatever the layout. Of several copies of the model the first one is taken.
 *
 * <p>Rank 0 knows from the plan what each rank holds, so the others send which of it a tensor is
 * there for, and values, one parameter after the other.
 */
final class ModelParts {
  private static final int TAG = 0;

  private final Engine engine;
  private final Arena host;
  private final @Nullable Communicator model; // null: one rank has all
  private final boolean isOfFirstCopy;
  private final List<Parameter> own;
  private final IntFunction<List<Parameter>> parametersOfRank;

  /**
   * @param parametersOfRank the parameters of a rank of {@link RankGroups#model}, without values
   */
  ModelParts(
      RankGroups groups,
      Arena host,
      List<Parameter> own,
      IntFunction<List<Parameter>> parametersOfRank) {
    this.engine = host.engine();
    this.host = host;
    this.model = groups.model().orElse(null);
    this.isOfFirstCopy = groups.coordinate(Axis.DATA) == 0;
    this.own = own;
    this.parametersOfRank = parametersOfRank;
  }

  /**
   * What rank 0 writes; nothing on the others. Of each rank of the first copy it is called with
   * what that rank's shard group has brought together on this one.
   *
   * @param prefix of the names
   * @param owned gets the memory of what is returned, which the caller closes when it is written
   */
  List<SafetensorsWriter.Entry> gather(String prefix, WholeTensors held, List<Tensor> owned)
      throws InterruptedException {
    Communicator ranks = model;
    if (ranks == null) {
      owned.addAll(held.owned());
      return own.stream()
          .filter(held.tensors()::containsKey) // some states are of some parameters alone
          .map(
              parameter ->
                  new SafetensorsWriter.Entry(prefix + parameter.name(), held.of(parameter)))
          .toList();
    }
    if (!isOfFirstCopy) {
      held.owned().forEach(Tensor::close);
      return List.of();
    }
    List<SafetensorsWriter.Entry> entries = new ArrayList<>();
    if (ranks.rank() == 0) {
      Map<String, Tensor> wholes = receive(ranks, held, owned);
      wholes.forEach(
          (name, whole) -> entries.add(new SafetensorsWriter.Entry(prefix + name, whole)));
    } else {
      sendWhich(ranks, held);
      for (Parameter parameter : own.stream().filter(held.tensors()::containsKey).toList()) {
        try (Tensor sent = host.allocate(DType.FLOAT32, parameter.shape().elementCount())) {
          copyOut(held.of(parameter), sent);
          ranks.send(sent, 0, TAG).await();
        }
      }
    }
    held.owned().forEach(Tensor::close);
    return entries;
  }

  private void copyOut(Tensor value, Tensor sent) {
    engine.copy(value.reshape(value.elementCount()), sent);
    engine.synchronize(value.device());
  }

  private Map<String, Tensor> receive(Communicator ranks, WholeTensors held, List<Tensor> owned)
      throws InterruptedException {
    Map<String, Tensor> wholes = new LinkedHashMap<>();
    for (int rank = 0; rank < ranks.size(); rank++) {
      List<Parameter> given =
          rank == 0
              ? own.stream().filter(held.tensors()::containsKey).toList()
              : receiveWhich(ranks, rank);
      for (Parameter parameter : given) {
        try (Tensor part = host.allocate(DType.FLOAT32, parameter.shape().elementCount())) {
          if (rank == 0) {
            copyOut(held.of(parameter), part);
          } else {
            ranks.receive(part, rank, TAG).await();
          }
          Tensor whole =
              wholes.computeIfAbsent(parameter.name(), absent -> allocate(parameter, owned));
          PartitionCopy.toWhole(engine, parameter.partition(), part, whole);
          engine.synchronize(Device.CPU);
        }
      }
    }
    return wholes;
  }

  /** Some states are of some parameters alone. */
  private void sendWhich(Communicator ranks, WholeTensors held) throws InterruptedException {
    try (Tensor flags = host.allocate(DType.UINT8, own.size())) {
      ByteBuffer bytes = flags.byteBuffer(0, own.size());
      own.forEach(parameter -> bytes.put((byte) (held.tensors().containsKey(parameter) ? 1 : 0)));
      ranks.send(flags, 0, TAG).await();
    }
  }

  private List<Parameter> receiveWhich(Communicator ranks, int rank) throws InterruptedException {
    List<Parameter> all = parametersOfRank.apply(rank);
    try (Tensor flags = host.allocate(DType.UINT8, all.size())) {
      ranks.receive(flags, rank, TAG).await();
      ByteBuffer bytes = flags.byteBuffer(0, all.size());
      return IntStream.range(0, all.size())
          .filter(number -> bytes.get(number) == 1)
          .mapToObj(all::get)
          .toList();
    }
  }

  private Tensor allocate(Parameter parameter, List<Tensor> owned) {
    Tensor whole = host.allocate(DType.FLOAT32, parameter.partition().whole());
    owned.add(whole);
    return whole;
  }
}
