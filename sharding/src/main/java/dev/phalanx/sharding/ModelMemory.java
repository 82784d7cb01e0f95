package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.sharding.compression.Compression;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What a rank holds of a model that several ranks train on different data: values, gradients,
 * master values, and how they stay together. Every rank makes the same calls in the same order.
 *
 * <pre>
 *   beginStep
 *   beginPass - loss - beginBackward - backward - endPass   for each micro-batch
 *   finishGradients - an optimizer's step, which ends with refreshValues
 *
 *   stage  values            gradients            update
 *   0      whole             whole, all-reduce    everything
 *   1      whole, gathered   whole, then scatter  this rank's parts
 *   2      whole, gathered   parts                this rank's parts
 *   3      parts             parts                this rank's parts
 * </pre>
 *
 * <p>The stages are those of ZeRO (Rajbhandari et al., 2020, "ZeRO: Memory Optimizations Toward
 * Training Trillion Parameter Models"); with a shard group that is smaller than all ranks they are
 * hybrid (Zhao et al., 2023, "PyTorch FSDP", 3.2.2).
 *
 * <p>Used by the thread that trains.
 */
public final class ModelMemory implements UpdatedValues {
  /**
   * @param stage 0 to 3
   * @param arena owns the memory that the computation uses
   * @param stateArena owns what the update alone uses: the same arena, or one on the CPU, to which
   *     gradients are then brought (Ren et al., 2021, "ZeRO-Offload")
   * @param host an arena on the CPU, for copies where the ranks' communicators cannot read the
   *     device
   * @param computeType FLOAT32, BFLOAT16 or FLOAT16
   * @param bucketBytes about how many bytes of gradients are reduced together
   * @param overlap whether gradients are reduced while backward goes on
   * @param reshardAfterForward whether stage 3 gathers a layer anew for its backward pass
   * @param copies the ranks that hold copies of parameters though they divide the model, by the
   *     name that {@link dev.phalanx.tensor.autograd.Partition.Copies} give them
   * @param division of each parameter, beside that into shards; empty where nobody divides them, or
   *     the optimizer looks at elements alone
   * @param compression of the sums of gradients. In stages 2 and 3 that is between copies only, as
   *     hybrid sharding has them: residuals of whole gradients would take the memory that sharding
   *     saves
   */
  public record Setup(
      int stage,
      DataGroups groups,
      Arena arena,
      Arena stateArena,
      Arena host,
      DType computeType,
      long bucketBytes,
      boolean overlap,
      boolean reshardAfterForward,
      Map<String, Communicator> copies,
      Optional<Division> division,
      Optional<Compression> compression) {
    public Setup {
      boolean hasNoCopies = groups.shards() > 1 && groups.replicas().isEmpty();
      if (compression.isPresent() && stage >= 2 && hasNoCopies) {
        throw new IllegalArgumentException(
            "Stage " + stage + " sums no gradients that could be compressed");
      }
    }

    boolean isOffloaded() {
      return !arena.device().equals(stateArena.device());
    }

    Optional<DeviceCollectives> shardCollectives() {
      return groups.shard().map(group -> new DeviceCollectives(host, group));
    }
  }

  /**
   * The ranks that have all elements of the parameters together, as {@link UpdatedValues} say.
   *
   * @param collectives empty where this rank has everything
   * @param partitions what of a parameter the holders have before they share it with shards: one
   *     for each part of the model
   */
  private record Holders(
      int rank,
      int size,
      Optional<DeviceCollectives> collectives,
      Function<Parameter, List<Partition>> partitions) {
    static Holders of(Setup setup, Optional<DeviceCollectives> shardGroup) {
      DataGroups groups = setup.groups();
      return setup
          .division()
          .map(
              divided ->
                  new Holders(
                      divided.holders().rank(),
                      divided.holders().size(),
                      Optional.of(new DeviceCollectives(setup.host(), divided.holders())),
                      divided::partitionsOf))
          .orElseGet(
              () ->
                  new Holders(
                      groups.shardRank(),
                      groups.shards(),
                      shardGroup,
                      parameter -> List.of(parameter.partition())));
    }
  }

  /**
   * A tensor of the optimizer's state for some parameters alone.
   *
   * @param offsets where this rank's piece of a parameter begins
   */
  private record PartialState(Predicate<Parameter> isCovered, Map<Parameter, Long> offsets) {}

  /** Groups of parameters below this are gathered together with their neighbours. */
  private static final long LEAST_GATHERED_BYTES = 64 << 10;

  private final Engine engine;
  private final Setup setup;
  private final ShardLayout layout;
  private final Waiting waiting = new Waiting();
  private final Optional<DeviceCollectives> shardGroup;
  private final Holders holders;
  private final ParameterValues values;
  private final GradientSums gradients;
  private final @Nullable Tensor masterMemory; // null: the values' own
  private final List<Tensor> masterParts; // of each bucket
  private final List<Tensor> gradientParts; // of each bucket, where the update reads them
  private final Map<Tensor, List<Tensor>> stateParts = new IdentityHashMap<>();
  private final Map<Tensor, PartialState> partialStates = new IdentityHashMap<>();
  private final Map<Tensor, WholeTensors> heldWhole = new IdentityHashMap<>();
  private final List<ShardLayout.Piece> pieces;

  /**
   * Allocates the memory and binds every parameter to it. All ranks call it together.
   *
   * @param parts of the model that passes go through one at a time, a pipeline's stages as a rule;
   *     of each the parameters that a pass reads together, a layer's as a rule. All in the order of
   *     first use
   */
  public ModelMemory(Setup setup, List<List<List<Parameter>>> parts) throws InterruptedException {
    this.engine = setup.arena().engine();
    this.setup = setup;
    this.layout = new ShardLayout(cuts(setup, parts), setup.groups().shards());
    this.shardGroup = setup.shardCollectives();
    this.holders = Holders.of(setup, shardGroup);
    this.values =
        setup.stage() == 3 && shardGroup.isPresent()
            ? new ShardedValues(setup, setup.computeType(), layout, shardGroup.get(), waiting)
            : new WholeValues(setup, setup.computeType(), layout, waiting);
    this.gradients =
        setup.stage() >= 2 && shardGroup.isPresent()
            ? new ShardedGradients(setup, layout, shardGroup.get(), waiting)
            : new WholeGradients(setup, layout, waiting);
    Tensor ownMaster =
        setup.computeType() == DType.FLOAT32 && !setup.isOffloaded()
            ? null
            : setup.stateArena().allocate(DType.FLOAT32, layout.partCount());
    this.masterMemory = ownMaster;
    this.masterParts =
        layout.buckets().stream()
            .map(bucket -> ownMaster == null ? values.part(bucket) : layout.part(ownMaster, bucket))
            .toList();
    Tensor brought =
        setup.isOffloaded() ? setup.stateArena().allocate(DType.FLOAT32, layout.partCount()) : null;
    this.gradientParts =
        layout.buckets().stream()
            .map(bucket -> brought == null ? gradients.part(bucket) : layout.part(brought, bucket))
            .toList();
    this.pieces = layout.pieces(setup.groups().shardRank());
    layout.parameters().forEach(parameter -> parameter.bind(memoryOf(parameter)));
  }

  private Parameter.Memory memoryOf(Parameter parameter) {
    return new Parameter.Memory() {
      @Override
      public Tensor value() {
        return values.value(parameter);
      }

      @Override
      public Tensor gradient() {
        return gradients.gradient(parameter);
      }
    };
  }

  /** In the reverse of the order of first use. */
  private static List<ShardLayout.Cut> cuts(Setup setup, List<List<List<Parameter>>> parts) {
    List<ShardLayout.Cut> cuts = new ArrayList<>();
    for (int part = parts.size() - 1; part >= 0; part--) {
      List<List<Parameter>> groups = parts.get(part);
      List<List<Parameter>> buckets =
          setup.stage() == 3
              ? layers(groups)
              : ShardLayout.cut(
                  reversed(groups.stream().flatMap(List::stream).toList()), setup.bucketBytes());
      for (List<Parameter> bucket : buckets) {
        cuts.add(new ShardLayout.Cut(part, bucket));
      }
    }
    return cuts;
  }

  /** In the reverse of the order of first use; small groups go with the one before. */
  private static List<List<Parameter>> layers(List<List<Parameter>> groups) {
    List<List<Parameter>> layers = new ArrayList<>();
    boolean isJoinable = false; // whether the last one of the layers is
    for (List<Parameter> group : groups) {
      List<Parameter> apart = group.stream().filter(ModelMemory::isApart).toList();
      apart.forEach(parameter -> layers.add(new ArrayList<>(List.of(parameter))));
      isJoinable &= apart.isEmpty();
      List<Parameter> together = new ArrayList<>(group);
      together.removeAll(apart);
      if (together.isEmpty()) {
        continue;
      }
      boolean isSmall = ShardLayout.elementCount(together) * Float.BYTES < LEAST_GATHERED_BYTES;
      if (isSmall && isJoinable) {
        layers.get(layers.size() - 1).addAll(together);
      } else {
        layers.add(together);
      }
      isJoinable = true;
    }
    return reversed(layers.stream().map(ModelMemory::reversed).toList());
  }

  private static boolean isApart(Parameter parameter) {
    return parameter.partition().isApart();
  }

  private static <T> List<T> reversed(List<T> list) {
    List<T> reversed = new ArrayList<>(list);
    Collections.reverse(reversed);
    return reversed;
  }

  // ------------------------------------------------------------------------------- what is held

  /** The number of elements of all parameters, whoever holds them. */
  public long elementCount() {
    return layout.elementCount();
  }

  private Tensor masterPart(ShardLayout.Bucket bucket) {
    return masterParts.get(bucket.index());
  }

  private List<Tensor> partsOf(Tensor state) {
    return stateParts.computeIfAbsent(
        state, flat -> layout.buckets().stream().map(bucket -> layout.part(flat, bucket)).toList());
  }

  @Override
  public List<Run> runs() {
    List<Run> runs = new ArrayList<>();
    int first = 0;
    while (first < pieces.size()) {
      ShardLayout.Piece start = pieces.get(first);
      long count = start.count();
      int next = first + 1;
      while (next < pieces.size()
          && pieces.get(next).bucket() == start.bucket()
          && pieces.get(next).parameter().isDecayed() == start.parameter().isDecayed()) {
        count += pieces.get(next).count();
        next++;
      }
      long offset = start.partOffset(layout.shards());
      runs.add(
          new Run(
              masterPart(start.bucket()).slice(0, offset, count),
              gradientParts.get(start.bucket().index()).slice(0, offset, count),
              start.partsOffset(),
              start.parameter().isDecayed()));
      first = next;
    }
    return runs;
  }

  @Override
  public List<Piece> pieces() {
    return pieces.stream()
        .map(
            piece ->
                new Piece(
                    piece.parameter(),
                    piece.parameterOffset(),
                    master(piece),
                    gradientParts
                        .get(piece.bucket().index())
                        .slice(0, piece.partOffset(layout.shards()), piece.count()),
                    piece.partsOffset()))
        .toList();
  }

  @Override
  public List<Parameter> parameters() {
    return layout.parameters();
  }

  @Override
  public int holder() {
    return holders.rank();
  }

  @Override
  public void sumOverHolders(Tensor numbers) {
    holders.collectives().ifPresent(group -> waiting.awaitInPass(group.allReduce(numbers)::await));
  }

  @Override
  public List<List<Share>> sharesOfHolders() {
    int shards = layout.shards();
    return IntStream.range(0, holders.size())
        .mapToObj(holder -> shares(holder / shards, layout.pieces(holder % shards)))
        .toList();
  }

  /** Ranks that divide parameters lay their parts out alike, so the pieces are those of all. */
  private List<Share> shares(int part, List<ShardLayout.Piece> ofShard) {
    List<Share> shares = new ArrayList<>();
    for (ShardLayout.Piece piece : ofShard) {
      Parameter parameter = piece.parameter();
      List<Partition> ofParts = holders.partitions().apply(parameter);
      long first = 0; // of the block
      for (Partition.Block block : ofParts.get(part).blocks()) {
        long from = Math.max(first, piece.parameterOffset());
        long to = Math.min(first + block.elementCount(), piece.parameterOffset() + piece.count());
        if (from < to) {
          boolean isCounted =
              ofParts.subList(0, part).stream().noneMatch(before -> before.hasCopyOf(block));
          shares.add(new Share(parameter, from, to - from, block, from - first, isCounted));
        }
        first += block.elementCount();
      }
    }
    return shares;
  }

  @Override
  public void exchange(List<PointToPoint> transfers) {
    if (!transfers.isEmpty()) {
      waiting.awaitInPass(holders.collectives().orElseThrow().exchange(transfers)::await);
    }
  }

  @Override
  public Tensor allocateState(Arena arena, Predicate<Parameter> isCovered) {
    Map<Parameter, Long> offsets = new IdentityHashMap<>();
    long count = 0;
    for (ShardLayout.Piece piece : pieces) {
      if (isCovered.test(piece.parameter())) {
        offsets.put(piece.parameter(), count);
        count += piece.count();
      }
    }
    Tensor state = arena.zeros(DType.FLOAT32, count);
    partialStates.put(state, new PartialState(isCovered, offsets));
    return state;
  }

  @Override
  public long stateElementCount() {
    return layout.partCount();
  }

  @Override
  public void refreshValues() {
    if (masterMemory != null) {
      for (ShardLayout.Bucket bucket : layout.buckets()) {
        engine.copy(masterPart(bucket), values.part(bucket));
      }
      engine.synchronize(setup.arena().device());
    }
    values.distribute();
  }

  /** Bytes of the values that the computation reads, as long as they are held between steps. */
  public long parameterBytes() {
    return values.bytes();
  }

  /** Bytes of the gradients that are held until the update. */
  public long gradientBytes() {
    return gradients.bytes();
  }

  /** Bytes of the master values where they are a copy of their own. */
  public long masterBytes() {
    return masterMemory == null ? 0 : masterMemory.byteSize();
  }

  // ------------------------------------------------------------------------- loading and saving

  /** Sets the master values by the parameters' initializers, and what follows from them. */
  public void initialize(ToLongFunction<Parameter> seed) {
    values.settle();
    for (ShardLayout.Piece piece : pieces) {
      try (Tensor destination = master(piece)) {
        ParameterFilling.fill(
            engine,
            piece.parameter(),
            seed.applyAsLong(piece.parameter()),
            piece.parameterOffset(),
            destination);
      }
    }
    refreshValues();
  }

  private Tensor master(ShardLayout.Piece piece) {
    return masterPart(piece.bucket()).slice(0, piece.partOffset(layout.shards()), piece.count());
  }

  /** Reads the master values, and sets what follows from them. */
  public void load(ParameterSource source) throws IOException {
    values.settle();
    for (ShardLayout.Piece piece : pieces) {
      try (Tensor destination = master(piece)) {
        load(piece, destination, source);
      }
    }
    refreshValues();
  }

  /**
   * Sets this rank's parts of a tensor of the optimizer's state.
   *
   * @param state [{@link #stateElementCount}] FLOAT32, or one of {@link #allocateState}
   */
  public void loadState(Tensor state, ParameterSource source) throws IOException {
    for (ShardLayout.Piece piece : pieces) {
      if (covers(state, piece.parameter())) {
        try (Tensor destination = state(state, piece)) {
          load(piece, destination, source);
        }
      }
    }
  }

  private boolean covers(Tensor state, Parameter parameter) {
    PartialState partial = partialStates.get(state);
    return partial == null || partial.isCovered().test(parameter);
  }

  /** A covered piece's slice of a tensor of the optimizer's state. */
  private Tensor state(Tensor state, ShardLayout.Piece piece) {
    PartialState partial = partialStates.get(state);
    long offset =
        partial == null
            ? piece.partsOffset()
            : partial.offsets().getOrDefault(piece.parameter(), 0L);
    return state.slice(0, offset, piece.count());
  }

  private void load(ShardLayout.Piece piece, Tensor destination, ParameterSource source)
      throws IOException {
    if (piece.parameter().partition().paddingRows() > 0) {
      engine.fill(destination, 0);
      engine.synchronize(destination.device());
    }
    long end = piece.parameterOffset() + piece.count();
    long first = 0; // of the block
    for (Partition.Block block : piece.parameter().partition().blocks()) {
      long from = Math.max(first, piece.parameterOffset());
      long to = Math.min(first + block.elementCount(), end);
      if (from < to) {
        try (Tensor run = destination.slice(0, from - piece.parameterOffset(), to - from)) {
          load(piece.parameter(), block, from - first, run, source);
        }
      }
      first += block.elementCount();
    }
  }

  /**
   * Asks for no other rows than those that a run lies in.
   *
   * @param offset of the run within the block
   * @param run [n]
   */
  private void load(
      Parameter parameter, Partition.Block block, long offset, Tensor run, ParameterSource source)
      throws IOException {
    long columns = block.columns();
    long count = run.elementCount();
    long firstRow = offset / columns;
    Shape rows = rows(parameter.partition().whole(), (offset + count - 1) / columns + 1 - firstRow);
    if (rows.elementCount() == count) {
      try (Tensor shaped = run.reshape(rows.toArray())) {
        source.read(parameter, block.row() + firstRow, shaped);
        engine.synchronize(run.device());
      }
      return;
    }
    try (Arena staging = new Arena(engine, Device.CPU)) {
      Tensor wide = staging.allocate(DType.FLOAT32, rows);
      source.read(parameter, block.row() + firstRow, wide);
      engine.synchronize(Device.CPU);
      Tensor narrow = wide;
      if (rows.elementCount() != rows.size(0) * columns) {
        narrow = staging.allocate(DType.FLOAT32, Shape.of(rows.size(0), columns));
        engine.copy(wide.slice(1, block.column(), columns), narrow);
      }
      Tensor flat = narrow.reshape(narrow.elementCount());
      engine.copy(flat.slice(0, offset - firstRow * columns, count), run);
      engine.synchronize(run.device());
    }
  }

  /** The whole's shape but for the number of rows. */
  private static Shape rows(Shape whole, long count) {
    return whole.rank() < 2 ? Shape.of(count) : Shape.of(count, whole.size(1));
  }

  /**
   * The whole master values on the first rank: views where this rank holds everything, else copies.
   * All ranks call.
   *
   * @param host owns copies; an arena on the CPU
   */
  public Optional<WholeTensors> wholeMaster(Arena host) throws InterruptedException {
    return whole(masterParts, host);
  }

  /**
   * A whole tensor of the optimizer's state, as {@link #wholeMaster} gives the master values, for
   * the parameters that have such a state.
   *
   * @param state [{@link #stateElementCount}] FLOAT32, or one of {@link #allocateState}; one of
   *     those that live as long as this
   */
  public Optional<WholeTensors> wholeState(Tensor state, Arena host) throws InterruptedException {
    PartialState partial = partialStates.get(state);
    return partial == null ? whole(partsOf(state), host) : wholePartial(state, partial, host);
  }

  private Optional<WholeTensors> wholePartial(Tensor state, PartialState partial, Arena host)
      throws InterruptedException {
    Optional<Communicator> group = setup.groups().shard();
    if (group.isEmpty()) {
      return Optional.of(heldWhole.computeIfAbsent(state, this::heldPartial));
    }
    List<Tensor> gathered = new ArrayList<>();
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      gather(group.get(), sent -> fillPart(state, bucket, sent), bucket, host)
          .ifPresent(gathered::add);
    }
    if (gathered.isEmpty()) {
      return Optional.empty();
    }
    WholeTensors all = whole(gathered, gathered);
    all.tensors().keySet().removeIf(parameter -> !partial.isCovered().test(parameter));
    return Optional.of(all);
  }

  /** Views, where this rank has everything. */
  private WholeTensors heldPartial(Tensor state) {
    Map<Parameter, Tensor> all = new IdentityHashMap<>();
    for (ShardLayout.Piece piece : pieces) {
      if (covers(state, piece.parameter())) {
        long[] shape = piece.parameter().shape().toArray();
        all.put(piece.parameter(), state(state, piece).reshape(shape));
      }
    }
    return new WholeTensors(all, List.of());
  }

  /** A bucket's part of a state, with noughts where there is none. */
  private void fillPart(Tensor state, ShardLayout.Bucket bucket, Tensor part) {
    engine.fill(part, 0);
    for (ShardLayout.Piece piece : pieces) {
      if (piece.bucket() == bucket && covers(state, piece.parameter())) {
        try (Tensor from = state(state, piece);
            Tensor to = part.slice(0, piece.partOffset(layout.shards()), piece.count())) {
          engine.copy(from, to);
        }
      }
    }
    engine.synchronize(state.device());
  }

  private Optional<WholeTensors> whole(List<Tensor> parts, Arena host) throws InterruptedException {
    Optional<Communicator> group = setup.groups().shard();
    if (group.isEmpty()) {
      return Optional.of(heldWhole.computeIfAbsent(parts.get(0), first -> whole(parts, List.of())));
    }
    List<Tensor> gathered = new ArrayList<>();
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      Tensor part = parts.get(bucket.index());
      gather(group.get(), sent -> copyOut(part, sent), bucket, host).ifPresent(gathered::add);
    }
    return gathered.isEmpty() ? Optional.empty() : Optional.of(whole(gathered, gathered));
  }

  private WholeTensors whole(List<Tensor> buckets, List<Tensor> owned) {
    Map<Parameter, Tensor> all = new IdentityHashMap<>();
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      for (Parameter parameter : bucket.parameters()) {
        all.put(parameter, layout.slice(buckets.get(bucket.index()), parameter));
      }
    }
    return new WholeTensors(all, owned);
  }

  private void copyOut(Tensor part, Tensor sent) {
    engine.copy(part, sent);
    engine.synchronize(part.device());
  }

  /**
   * @param part puts this rank's part into the tensor that is sent
   */
  private Optional<Tensor> gather(
      Communicator group, Consumer<Tensor> part, ShardLayout.Bucket bucket, Arena host)
      throws InterruptedException {
    try (Tensor sent = host.allocate(DType.FLOAT32, bucket.paddedCount() / layout.shards())) {
      part.accept(sent);
      Tensor whole = group.rank() == 0 ? host.allocate(DType.FLOAT32, bucket.paddedCount()) : null;
      group.gather(sent, whole, 0).await();
      return Optional.ofNullable(whole);
    }
  }

  // ------------------------------------------------------------------------------ a step's walk

  /**
   * A step begins: all gradients are forgotten, and the next ones replace them.
   *
   * @param step the number of the update that it is to make, from 1, which codecs go by
   */
  public void beginStep(long step) {
    gradients.beginStep(step);
  }

  /** Passes begin: a micro-batch's, or those of several that go through the model together. */
  public void beginPass() {
    values.beginPass();
  }

  /**
   * A micro-batch's backward pass through a part of the model begins.
   *
   * @param isLast whether the step has no more micro-batches for this part
   * @return who must hear of complete gradients
   */
  public GradientListener beginBackward(int part, boolean isLast) {
    return gradients.beginBackward(part, isLast);
  }

  /** All passes that have begun are over. */
  public void endPass() {
    values.endPass();
  }

  /**
   * Waits until the sums of all gradients are there.
   *
   * @throws dev.phalanx.collectives.CollectiveException where a rank is lost or disagrees
   * @throws NotFiniteGradientException where this rank's gradients cannot be compressed; the
   *     backward pass throws it too
   */
  public void finishGradients() throws InterruptedException {
    gradients.finish();
    if (setup.isOffloaded()) {
      layout
          .buckets()
          .forEach(
              bucket -> engine.copy(gradients.part(bucket), gradientParts.get(bucket.index())));
      engine.synchronize(setup.arena().device());
    }
    values.settle(); // the update comes next
  }

  /** When this returns nothing is under way that reads or writes this memory. */
  public void settle() {
    values.settle();
  }

  /**
   * The reduced gradients that this rank counts where each element of the model counts once,
   * FLOAT32, as views: without padding, and without copies of what another rank counts.
   */
  public List<Tensor> countedGradients() {
    List<HeldRun> counted =
        layout.heldRuns(setup.groups().shardRank()).stream().filter(HeldRun::isCounted).toList();
    return HeldRun.joined(counted).stream().map(run -> run.of(gradientParts)).toList();
  }

  /**
   * The ranks whose {@link #countedGradients} together are the whole model's; none: each has all.
   */
  public Optional<Communicator> shardGroup() {
    return setup.groups().shard();
  }

  /**
   * Whether ranks talk to each other within a forward pass, so that all must run as many of them.
   */
  public boolean isForwardCollective() {
    return values.isGatheredInPass();
  }

  // -------------------------------------------------------------------------------- compression

  /** How sums of gradients are compressed; empty where they are not, or nobody is there to sum. */
  public Optional<Compression> compression() {
    return gradients.compressible().flatMap(BucketSums::compression);
  }

  /**
   * What a checkpoint must hold so that compression goes on with the same bits: this rank's own, by
   * name. Memory that is in use, to be read and written between steps.
   */
  public Map<String, Tensor> compressionState() {
    return gradients.compressible().map(BucketSums::state).orElse(Map.of());
  }

  /**
   * What {@link #compressionState} leaves out because all ranks of the same {@link #compressedPart}
   * have the same.
   */
  public Map<String, Tensor> commonCompressionState() {
    return gradients.compressible().map(BucketSums::commonState).orElse(Map.of());
  }

  /**
   * How many parts of the model are compressed each on its own: the shards of hybrid sharding, else
   * 1. The first ranks hold them in order.
   */
  public int compressedParts() {
    return setup.groups().all().isPresent() ? 1 : setup.groups().shards();
  }

  /** Which of them this rank's sums are. */
  public int compressedPart() {
    return setup.groups().all().isPresent() ? 0 : setup.groups().shardRank();
  }

  /**
   * A checksum of which elements of the model lie where in the buckets that are compressed here.
   * Where it is the same, {@link #compressionState} and {@link #commonCompressionState} are of the
   * same elements, however the ranks came to hold them.
   */
  public long compressedElements() {
    return setup.groups().all().isPresent()
        ? layout.undivided().checksum(0)
        : layout.checksum(setup.groups().shardRank());
  }

  /** What compression has saved and cost; empty where nothing is compressed. */
  public Optional<CompressionStatistics> compressionStatistics() {
    return gradients.compressible().flatMap(BucketSums::statistics);
  }

  // ------------------------------------------------------------------------------------- timing

  /** Time that the training thread has waited for other ranks since the start. */
  public long exposedNanos() {
    return waiting.nanos();
  }
}
