package dev.phalanx.trainer;

import dev.phalanx.checkpoint.safetensors.SafetensorsFile;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.sharding.ModelMemory;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;

/**
 * What compression hands on from step to step, in a checkpoint: residuals, which differ from rank
 * to rank, and what is the same on all ranks that hold the same part of the model.
 *
 * <pre>
 *   compression.rank-R     [longest of all ranks] FLOAT32, one for each rank
 *   compression.part-P     [longest of all parts] FLOAT32, one for each part
 *   compression.elements   [ranks] FLOAT64, a checksum of which elements each rank's are of
 * </pre>
 *
 * <p>Rank 0 gathers all of it in host memory while it saves.
 */
public final class CompressionCheckpoint {
  private static final String OWN = "compression.rank-";
  private static final String COMMON = "compression.part-";
  private static final String ELEMENTS = "compression.elements";

  /**
   * What this job could not take over.
   *
   * @param residuals whether the checkpoint holds such as differ from rank to rank
   * @param common whether it holds what is the same on ranks with the same part
   * @param isCommonNew whether this job has something of that kind that begins anew, be it that the
   *     checkpoint's does not fit or that it holds none
   */
  public record Lost(boolean residuals, boolean common, boolean isCommonNew) {}

  private final Communicator world;
  private final Engine engine;
  private final Arena host;
  private final int parts; // the first ranks hold them in order
  private final int part; // of this rank
  private final Collection<Tensor> own;
  private final Collection<Tensor> common;
  private final long ownCount; // the longest of all ranks
  private final long commonCount;
  private final double[] elements; // of each rank; none: the caller knows

  /** All ranks make theirs together. */
  static CompressionCheckpoint of(RankGroups groups, Arena host, ModelMemory memory)
      throws InterruptedException {
    boolean isDivided = groups.model().isPresent(); // then each rank's part is its own
    return new CompressionCheckpoint(
        groups.world(),
        host,
        isDivided ? groups.world().size() : memory.compressedParts(),
        isDivided ? groups.world().rank() : memory.compressedPart(),
        memory.compressionState().values(),
        memory.commonCompressionState().values(),
        OptionalLong.of(memory.compressedElements()));
  }

  /**
   * All ranks make theirs together.
   *
   * @param parts of the model that ranks hold apart; the first ranks hold them in order
   * @param part this rank's
   * @param own what differs from rank to rank
   * @param common what is the same on all ranks that hold the same part
   * @param elements a checksum of which elements of the model these are of, below 2^53; empty where
   *     the caller knows by other means whether a checkpoint's are of the same
   */
  public CompressionCheckpoint(
      Communicator world,
      Arena host,
      int parts,
      int part,
      Collection<Tensor> own,
      Collection<Tensor> common,
      OptionalLong elements)
      throws InterruptedException {
    this.world = world;
    this.parts = parts;
    this.part = part;
    this.host = host;
    this.engine = host.engine();
    this.own = own;
    this.common = common;
    try (HostNumbers counts = new HostNumbers(host, 2)) {
      counts.set(0, count(own));
      counts.set(1, count(common));
      counts.allReduce(world, ReduceOperation.MAXIMUM).await();
      this.ownCount = (long) counts.get(0);
      this.commonCount = (long) counts.get(1);
    }
    this.elements =
        elements.isPresent() ? ofAllRanks((double) elements.getAsLong()) : new double[0];
  }

  private double[] ofAllRanks(double own) throws InterruptedException {
    try (HostNumbers mine = new HostNumbers(host, 1);
        HostNumbers all = new HostNumbers(host, world.size())) {
      mine.set(0, own);
      mine.allGather(world, all).await();
      return IntStream.range(0, world.size()).mapToDouble(all::get).toArray();
    }
  }

  private static long count(Collection<Tensor> tensors) {
    return tensors.stream().mapToLong(Tensor::elementCount).sum();
  }

  /**
   * What rank 0 writes; nothing on the others. All ranks call.
   *
   * @param owned gets the memory of what is returned, which the caller closes when it is written
   */
  public List<SafetensorsWriter.Entry> gather(List<Tensor> owned) throws InterruptedException {
    List<SafetensorsWriter.Entry> entries = new ArrayList<>();
    long count = ownCount + commonCount;
    if (count == 0) {
      return entries;
    }
    try (Tensor sent = host.zeros(DType.FLOAT32, count)) {
      forEach(own, sent, 0, engine::copy);
      forEach(common, sent, ownCount, engine::copy);
      engine.synchronize(Device.CPU);
      Tensor all =
          world.rank() == 0
              ? host.allocate(DType.FLOAT32, Math.multiplyExact(count, world.size()))
              : null;
      world.gather(sent, all, 0).await();
      if (all != null) {
        owned.add(all);
        addEntries(all, count, entries);
        if (elements.length > 0) {
          Tensor checksums = elementsTensor();
          owned.add(checksums);
          entries.add(new SafetensorsWriter.Entry(ELEMENTS, checksums));
        }
      }
    }
    return entries;
  }

  private void addEntries(Tensor all, long count, List<SafetensorsWriter.Entry> entries) {
    for (int rank = 0; ownCount > 0 && rank < world.size(); rank++) {
      entries.add(new SafetensorsWriter.Entry(OWN + rank, all.slice(0, rank * count, ownCount)));
    }
    for (int number = 0; commonCount > 0 && number < parts; number++) {
      entries.add(
          new SafetensorsWriter.Entry(
              COMMON + number, all.slice(0, number * count + ownCount, commonCount)));
    }
  }

  private Tensor elementsTensor() {
    Tensor tensor = host.allocate(DType.FLOAT64, elements.length);
    tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asDoubleBuffer().put(elements);
    return tensor;
  }

  /**
   * Goes through tensors that lie one after the other in flat memory.
   *
   * @param start of the first one in {@code flat}
   * @param each gets a tensor's elements and their place
   */
  private static void forEach(
      Collection<Tensor> tensors, Tensor flat, long start, BiConsumer<Tensor, Tensor> each) {
    long offset = start;
    for (Tensor tensor : tensors) {
      try (Tensor elements = tensor.reshape(tensor.elementCount());
          Tensor place = flat.slice(0, offset, tensor.elementCount())) {
        each.accept(elements, place);
      }
      offset += tensor.elementCount();
    }
  }

  /**
   * Reads what fits. Residuals fit the same number of ranks, what is common fits the same number of
   * parts, and each the elements that it was of. All ranks find the same.
   *
   * @param file of the optimizer's state
   * @param isSameKind whether the job that wrote it compressed in the same way
   * @param isSamePlan whether its plan says that each rank compressed the elements that it does
   *     here; counts where the file does not say it
   */
  public Lost restore(SafetensorsFile file, boolean isSameKind, boolean isSamePlan)
      throws IOException {
    boolean isSaid = elements.length > 0 && file.names().contains(ELEMENTS);
    double[] saved = isSaid ? readElements(file) : new double[0];
    boolean isOwnSame = isSaid ? Arrays.equals(saved, elements) : isSamePlan;
    boolean isCommonSame =
        isSaid
            ? saved.length >= parts && Arrays.equals(saved, 0, parts, elements, 0, parts)
            : isSamePlan;
    boolean hasResiduals =
        isSameKind && isOwnSame && read(file, OWN, world.rank(), world.size(), ownCount, own);
    boolean hasCommon =
        isSameKind && isCommonSame && read(file, COMMON, part, parts, commonCount, common);
    return new Lost(
        !hasResiduals && count(file, OWN) > 0,
        !hasCommon && count(file, COMMON) > 0,
        !hasCommon && commonCount > 0);
  }

  private double[] readElements(SafetensorsFile file) throws IOException {
    int count = Math.toIntExact(file.shape(ELEMENTS).elementCount());
    double[] saved = new double[count];
    try (Tensor tensor = host.allocate(DType.FLOAT64, file.shape(ELEMENTS))) {
      file.read(ELEMENTS, tensor);
      tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asDoubleBuffer().get(saved);
    }
    return saved;
  }

  private static long count(SafetensorsFile file, String prefix) {
    return file.names().stream().filter(name -> name.startsWith(prefix)).count();
  }

  private boolean read(
      SafetensorsFile file,
      String prefix,
      int index,
      int size,
      long count,
      Collection<Tensor> destinations)
      throws IOException {
    if (count == 0
        || count(file, prefix) != size
        || !file.names().contains(prefix + index)
        || file.shape(prefix + index).elementCount() != count) {
      return false;
    }
    try (Tensor flat = host.allocate(DType.FLOAT32, count)) {
      file.read(prefix + index, flat, engine);
      forEach(destinations, flat, 0, (elements, place) -> engine.copy(place, elements));
      engine.synchronize(Device.CPU);
    }
    return true;
  }
}
