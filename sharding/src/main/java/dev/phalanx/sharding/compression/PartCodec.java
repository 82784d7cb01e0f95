package dev.phalanx.sharding.compression;

/** How a run of numbers is written in fewer bytes. One thread at a time. */
interface PartCodec {
  /** Bytes of a message of so many numbers: a multiple of four. */
  long messageBytes(long elements);

  /**
   * Writes numbers {@code first} to {@code first + count - 1} and leaves in their place what the
   * message does not say of them: their value less the decoded one.
   *
   * @param messageOffset in bytes, a multiple of four
   * @param capacity the number of elements that the message has room for; at least {@code count}
   */
  void encode(
      HostMemory values,
      long first,
      long count,
      HostMemory message,
      long messageOffset,
      long capacity);

  /** Adds the numbers that a message holds, written with the same count and capacity. */
  void decodeAdding(
      HostMemory message,
      long messageOffset,
      long capacity,
      HostMemory into,
      long first,
      long count);
}
