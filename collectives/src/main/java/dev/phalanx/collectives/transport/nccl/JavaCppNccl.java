package dev.phalanx.collectives.transport.nccl;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.cuda.global.nccl;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;

/**
 * {@link Nccl} by JavaCPP's binding. The two {@link Address}es are told anew for each call, so that
 * operations allocate nothing.
 */
final class JavaCppNccl implements Nccl {
  /** {@code NCCL_CONFIG_UNDEF_INT}: NCCL chooses. */
  private static final int UNDEFINED = Integer.MIN_VALUE;

  private static final int SCRATCH_BYTES = 256; // CUDA's own granularity

  private final int device;
  private final ncclComm communicator = new ncclComm();
  private final CUstream_st stream = new CUstream_st();
  private final Address from = new Address();
  private final Address to = new Address();
  private final Address scratch = new Address();
  private final int[] state = new int[1];
  private final List<CUevent_st> events = new ArrayList<>(); // by mark
  private final BitSet freeMarks = new BitSet();

  /**
   * @param device CUDA's number of the GPU, from 0
   */
  JavaCppNccl(int device) {
    this.device = device;
  }

  /** Loads the binding and all that it needs. */
  static NcclLibrary.Found load() {
    int[] devices = new int[1];
    requireCuda(cudart.cudaGetDeviceCount(devices), "cudaGetDeviceCount");
    int[] version = new int[1];
    requireDone(nccl.ncclGetVersion(version), "ncclGetVersion");
    return new NcclLibrary.Found(version[0], devices[0]);
  }

  @Override
  public void newGroupId(byte[] id) {
    try (ncclUniqueId made = new ncclUniqueId()) {
      requireDone(nccl.ncclGetUniqueId(made), "ncclGetUniqueId");
      made.internal().get(id);
    }
  }

  @Override
  public void join(int size, byte[] id, int rank) {
    requireCuda(cudart.cudaSetDevice(device), "cudaSetDevice");
    requireCuda(
        cudart.cudaStreamCreateWithFlags(stream, cudart.cudaStreamNonBlocking),
        "cudaStreamCreateWithFlags");
    requireCuda(cudart.cudaMalloc(scratch, SCRATCH_BYTES), "cudaMalloc");
    try (ncclUniqueId group = new ncclUniqueId();
        ncclConfig_t config = new ncclConfig_t()) {
      group.internal().put(id);
      notBlocking(config);
      requireBegun(
          nccl.ncclCommInitRankConfig(communicator, size, group, rank, config),
          "ncclCommInitRankConfig");
    }
  }

  /** What the macro NCCL_CONFIG_INITIALIZER does, which has no binding. */
  private static void notBlocking(ncclConfig_t config) {
    Pointer.memset(config, 0, config.sizeof());
    config
        .size(config.sizeof())
        .magic(nccl.NCCL_API_MAGIC)
        .version(nccl.NCCL_VERSION_CODE)
        .blocking(0)
        .cgaClusterSize(UNDEFINED)
        .minCTAs(UNDEFINED)
        .maxCTAs(UNDEFINED)
        .splitShare(UNDEFINED)
        .trafficClass(UNDEFINED)
        .collnetEnable(UNDEFINED)
        .CTAPolicy(UNDEFINED)
        .shrinkShare(UNDEFINED)
        .nvlsCTAs(UNDEFINED)
        .nChannelsPerNetPeer(UNDEFINED)
        .nvlinkCentricSched(UNDEFINED)
        .graphUsageMode(UNDEFINED)
        .numRmaCtx(UNDEFINED);
  }

  @Override
  public boolean isSettled() {
    requireDone(nccl.ncclCommGetAsyncError(communicator, state), "ncclCommGetAsyncError");
    requireBegun(state[0], "the operation under way");
    return state[0] == nccl.ncclSuccess;
  }

  @Override
  public void allReduce(long address, long count, int type, int reduction) {
    Pointer tensor = from.at(address);
    requireBegun(
        nccl.ncclAllReduce(tensor, tensor, count, type, reduction, communicator, stream),
        "ncclAllReduce");
  }

  @Override
  public void reduce(long address, long count, int type, int reduction, int root) {
    Pointer tensor = from.at(address);
    requireBegun(
        nccl.ncclReduce(tensor, tensor, count, type, reduction, root, communicator, stream),
        "ncclReduce");
  }

  @Override
  public void reduceScatter(long input, long output, long count, int type, int reduction) {
    requireBegun(
        nccl.ncclReduceScatter(
            from.at(input), to.at(output), count, type, reduction, communicator, stream),
        "ncclReduceScatter");
  }

  @Override
  public void allGather(long input, long output, long count, int type) {
    requireBegun(
        nccl.ncclAllGather(from.at(input), to.at(output), count, type, communicator, stream),
        "ncclAllGather");
  }

  @Override
  public void broadcast(long input, long output, long count, int type, int root) {
    requireBegun(
        nccl.ncclBroadcast(from.at(input), to.at(output), count, type, root, communicator, stream),
        "ncclBroadcast");
  }

  @Override
  public void beginGroup() {
    requireDone(nccl.ncclGroupStart(), "ncclGroupStart");
  }

  @Override
  public void endGroup() {
    requireBegun(nccl.ncclGroupEnd(), "ncclGroupEnd");
  }

  @Override
  public void send(long address, long count, int type, int peer) {
    requireBegun(
        nccl.ncclSend(from.at(address), count, type, peer, communicator, stream), "ncclSend");
  }

  @Override
  public void receive(long address, long count, int type, int peer) {
    requireBegun(
        nccl.ncclRecv(to.at(address), count, type, peer, communicator, stream), "ncclRecv");
  }

  @Override
  public void copy(long source, long target, long bytes) {
    requireCuda(
        cudart.cudaMemcpyAsync(
            to.at(target), from.at(source), bytes, cudart.cudaMemcpyDeviceToDevice, stream),
        "cudaMemcpyAsync");
  }

  @Override
  public long scratch() {
    return scratch.address();
  }

  @Override
  public int mark() {
    int mark = freeMarks.isEmpty() ? newMark() : freeMarks.nextSetBit(0);
    freeMarks.clear(mark);
    requireCuda(cudart.cudaEventRecord(events.get(mark), stream), "cudaEventRecord");
    return mark;
  }

  private int newMark() {
    CUevent_st event = new CUevent_st();
    requireCuda(
        cudart.cudaEventCreateWithFlags(event, cudart.cudaEventDisableTiming),
        "cudaEventCreateWithFlags");
    events.add(event);
    return events.size() - 1;
  }

  @Override
  public boolean hasPassed(int mark) {
    int answer = cudart.cudaEventQuery(events.get(mark));
    if (answer == cudart.cudaErrorNotReady) {
      return false;
    }
    requireCuda(answer, "the device");
    freeMarks.set(mark);
    return true;
  }

  @Override
  public void leave() {
    requireBegun(nccl.ncclCommFinalize(communicator), "ncclCommFinalize");
  }

  @Override
  public void free() {
    try {
      requireDone(nccl.ncclCommDestroy(communicator), "ncclCommDestroy");
    } finally {
      freeCuda();
    }
  }

  @Override
  public void abort() {
    try {
      if (!communicator.isNull()) {
        requireBegun(nccl.ncclCommAbort(communicator), "ncclCommAbort");
      }
    } finally {
      freeCuda();
    }
  }

  /** As far as it was made; a device that has failed refuses, and that changes nothing. */
  private void freeCuda() {
    for (CUevent_st event : events) {
      cudart.cudaEventDestroy(event);
    }
    events.clear();
    if (!stream.isNull()) {
      cudart.cudaStreamDestroy(stream);
    }
    if (!scratch.isNull()) {
      cudart.cudaFree(scratch);
    }
  }

  /** What was called is done. */
  private static void requireDone(int result, String call) {
    if (result != nccl.ncclSuccess) {
      throw new NcclError(
          "NCCL reports '"
              + text(nccl.ncclGetErrorString(result))
              + "' (code "
              + result
              + ") of "
              + call
              + ", and as its last error '"
              + text(nccl.ncclGetLastError(null))
              + "'");
    }
  }

  /** What was called is done or has begun; {@link #isSettled} tells. */
  private static void requireBegun(int result, String call) {
    if (result != nccl.ncclInProgress) {
      requireDone(result, call);
    }
  }

  private static void requireCuda(int error, String call) {
    if (error != cudart.cudaSuccess) {
      throw new NcclError(
          "CUDA reports '"
              + text(cudart.cudaGetErrorString(error))
              + "' (code "
              + error
              + ") of "
              + call);
    }
  }

  /** The memory is NCCL's or CUDA's own. */
  private static String text(@Nullable BytePointer message) {
    return message == null ? "" : message.getString().strip();
  }

  /** A place in the device's memory that belongs to somebody else. */
  private static final class Address extends Pointer {
    Address at(long place) {
      this.address = place;
      return this;
    }

    @Override
    public int sizeof() {
      return Byte.BYTES;
    }
  }
}
