package dev.phalanx.trainer;

import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.sharding.PartitionCopy;
import dev.phalanx.sharding.WholeTensors;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Brings what ranks that divide a model hold of it together on rank 0, for a checkpoint: whole
 * tensors, whatever the layout. Of several copies of the model the first one is taken.
 *
 * <p>Rank 0 knows from the plan what each rank holds, so the others send which of it a tensor is
 * there for, and values, one parameter after the other. Of copies the first one is sent.
 */
final class ModelParts {
  private static final int TAG = 0;

  private final Engine engine;
  private final Arena host;
  private final @Nullable Communicator model; // null: one rank has all
  private final Communicator world;
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
    this.world = groups.world();
    this.isOfFirstCopy = groups.isOfFirstCopy();
    this.own = own;
    this.parametersOfRank = parametersOfRank;
  }

  /**
   * What rank 0 writes; nothing on the others. All ranks of the job call it. Ranks send one after
   * the other, and all meet in between: none waits longer for another one than it takes to send
   * what one rank holds.
   *
   * @param prefix of the names
   * @param held what this rank's shard group has brought together on it; empty where that is
   *     another rank
   * @param owned gets the memory of what is returned, which the caller closes when it is written
   */
  List<SafetensorsWriter.Entry> gather(
      String prefix, Optional<WholeTensors> held, List<Tensor> owned) throws InterruptedException {
    Communicator ranks = model;
    if (ranks == null) {
      held.ifPresent(all -> owned.addAll(all.owned()));
      return held.map(all -> entries(prefix, all)).orElse(List.of());
    }
    Map<String, Tensor> wholes = new LinkedHashMap<>();
    for (int sender = 0; sender < ranks.size(); sender++) {
      if (isOfFirstCopy && held.isPresent()) {
        if (ranks.rank() == 0) {
          receive(ranks, sender, held.get(), wholes, owned);
        } else if (ranks.rank() == sender) {
          send(ranks, held.get());
        }
      }
      world.barrier().await();
    }
    held.ifPresent(all -> all.owned().forEach(Tensor::close));
    return wholes.entrySet().stream()
        .map(whole -> new SafetensorsWriter.Entry(prefix + whole.getKey(), whole.getValue()))
        .toList();
  }

  private List<SafetensorsWriter.Entry> entries(String prefix, WholeTensors held) {
    return heldOf(held).stream()
        .map(
            parameter -> new SafetensorsWriter.Entry(prefix + parameter.name(), held.of(parameter)))
        .toList();
  }

  /** Some states are of some parameters alone. */
  private List<Parameter> heldOf(WholeTensors held) {
    return own.stream().filter(held.tensors()::containsKey).toList();
  }

  private void send(Communicator ranks, WholeTensors held) throws InterruptedException {
    Set<Parameter> counted =
        heldOf(held).stream()
            .filter(parameter -> parameter.partition().isCounted())
            .collect(Collectors.toCollection(LinkedHashSet::new));
    sendWhich(ranks, counted);
    for (Parameter parameter : counted) {
      try (Tensor sent = host.allocate(DType.FLOAT32, parameter.shape().elementCount())) {
        copyOut(held.of(parameter), sent);
        ranks.send(sent, 0, TAG).await();
      }
    }
  }

  private void copyOut(Tensor value, Tensor sent) {
    try (Tensor flat = value.reshape(value.elementCount())) {
      engine.copy(flat, sent);
      engine.synchronize(value.device());
    }
  }

  private void receive(
      Communicator ranks,
      int sender,
      WholeTensors held,
      Map<String, Tensor> wholes,
      List<Tensor> owned)
      throws InterruptedException {
    for (Parameter parameter : sender == 0 ? heldOf(held) : receiveWhich(ranks, sender)) {
      try (Tensor part = host.allocate(DType.FLOAT32, parameter.shape().elementCount())) {
        if (sender == 0) {
          copyOut(held.of(parameter), part);
        } else {
          ranks.receive(part, sender, TAG).await();
        }
        Tensor whole =
            wholes.computeIfAbsent(parameter.name(), absent -> allocate(parameter, owned));
        PartitionCopy.toWhole(engine, parameter.partition(), part, whole);
        engine.synchronize(Device.CPU);
      }
    }
  }

  private void sendWhich(Communicator ranks, Set<Parameter> which) throws InterruptedException {
    try (Tensor flags = host.allocate(DType.UINT8, own.size())) {
      ByteBuffer bytes = flags.byteBuffer(0, own.size());
      own.forEach(parameter -> bytes.put((byte) (which.contains(parameter) ? 1 : 0)));
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
