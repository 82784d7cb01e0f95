package dev.phalanx.collectives.transport.nccl;

/**
 * One rank's NCCL communicator with its CUDA stream: NCCL's calls, with device addresses and NCCL's
 * numbers for types and reductions ({@link NcclConstants}).
 *
 * <p>Operations only begin; they run in order on the stream. After each of them, {@link #join} and
 * {@link #leave} too, {@link #isSettled} is asked until it says so, and only then comes the next
 * call: the communicator does not block. Every call throws {@link NcclError} where it did not
 * succeed; the communicator can only be aborted then.
 *
 * <p>Thread: all calls by one, but for {@link #newGroupId}: CUDA's current device belongs to the
 * thread.
 */
interface Nccl {
  /** Fills in the 128 bytes by which ranks know that they are of one group. Any thread. */
  void newGroupId(byte[] id);

  /** Chooses the device, makes the stream and begins to meet the others. Once, before all else. */
  void join(int size, byte[] id, int rank);

  /** Whether what was called last is on the stream, or done where it has no place there. */
  boolean isSettled();

  /** Counts are elements; of a whole tensor here. */
  void allReduce(long address, long count, int type, int reduction);

  /** Writes on the root alone. */
  void reduce(long address, long count, int type, int reduction, int root);

  /**
   * @param count of one part
   */
  void reduceScatter(long input, long output, long count, int type, int reduction);

  /**
   * @param count of one part
   */
  void allGather(long input, long output, long count, int type);

  /** Reads {@code input} on the root alone and writes {@code output} on every rank. */
  void broadcast(long input, long output, long count, int type, int root);

  /** What is called up to {@link #endGroup} begins together, so that no order can block. */
  void beginGroup();

  void endGroup();

  /** In a group. */
  void send(long address, long count, int type, int peer);

  /** In a group. */
  void receive(long address, long count, int type, int peer);

  /** From one place of the device's memory to another, on the stream. */
  void copy(long from, long to, long bytes);

  /** The device address of four bytes that nobody needs. */
  long scratch();

  /** Marks the place on the stream behind everything so far; gives the mark's number. */
  int mark();

  /** Whether the stream has passed the mark; its number is free again then. */
  boolean hasPassed(int mark);

  /** Begins to take leave of the others; nothing is under way. */
  void leave();

  /** Frees everything, after {@link #leave}. */
  void free();

  /** Ends whatever runs and frees everything; the others find out by themselves. */
  void abort();
}
