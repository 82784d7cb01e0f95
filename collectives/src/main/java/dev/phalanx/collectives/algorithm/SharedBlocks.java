package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The memory of a group's ranks that all of them can read, and where tensors lie in it. One thread
 * adds, the one that runs operations looks up.
 */
public final class SharedBlocks {
  private record Block(Storage own, List<ByteBuffer> byRank) {}

  /** Where each rank's tensor begins. */
  record Locations(int[] blocks, long[] offsets) {}

  private static final int LOCATION_BYTES = 2 * Long.BYTES;

  private volatile List<Block> blocks = List.of();

  /**
   * @param own this rank's block
   * @param byRank every rank's, as this process sees them
   */
  public void add(Storage own, List<ByteBuffer> byRank) {
    List<Block> more = new ArrayList<>(blocks);
    more.add(new Block(own, List.copyOf(byRank)));
    blocks = List.copyOf(more);
  }

  public int count() {
    return blocks.size();
  }

  /**
   * Tells the others where this rank's tensor lies, and hears where theirs do; then all have come
   * into this operation and their tensors may be read.
   *
   * @return null where some rank's tensor is in memory of its own; all ranks learn the same
   */
  @Nullable Locations meet(Exchange exchange, Tensor tensor) throws InterruptedException {
    int size = exchange.size();
    int[] found = new int[size];
    long[] offsets = new long[size];
    ByteBuffer own = ByteBuffer.allocate(LOCATION_BYTES).order(ByteOrder.nativeOrder());
    int block = blockOf(tensor);
    own.putLong(block).putLong(block < 0 ? 0 : tensor.address() - blocks.get(block).own.address());
    ByteBuffer message = exchange.scratch(own.flip());
    exchange.sendToOthers(message);
    boolean isShared = true;
    ByteBuffer heard = exchange.scratch(message);
    for (int rank = 0; rank < size; rank++) {
      ByteBuffer location = message;
      if (rank != exchange.rank()) {
        exchange.receive(rank, heard);
        location = heard;
      }
      found[rank] = (int) location.getLong(0);
      offsets[rank] = location.getLong(8);
      isShared &= found[rank] >= 0;
    }
    exchange.flush();
    return isShared ? new Locations(found, offsets) : null;
  }

  private int blockOf(Tensor tensor) {
    long address = tensor.address();
    for (int i = 0; i < blocks.size(); i++) {
      Storage own = blocks.get(i).own;
      if (address >= own.address()
          && address + tensor.byteSize() <= own.address() + own.byteSize()) {
        return i;
      }
    }
    return -1;
  }

  /** Bytes of a rank's tensor. */
  ByteBuffer view(Locations locations, int rank, long start, int length) {
    return blocks
        .get(locations.blocks[rank])
        .byRank
        .get(rank)
        .slice(Math.toIntExact(locations.offsets[rank] + start), length)
        .order(ByteOrder.nativeOrder());
  }
}
