package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Brings the identifier of a new group from its rank 0 to the others: NCCL itself leaves this to
 * whoever uses it.
 */
@FunctionalInterface
public interface UniqueIdExchange {
  /**
   * Every rank calls it once, at the same place of its program.
   *
   * @param id rank 0's bytes are sent, the others' overwritten with them
   */
  void share(byte[] id) throws InterruptedException;

  /**
   * By a broadcast of a communicator that has the same ranks, in the same order, and reads host
   * memory.
   *
   * @param message UINT8 [128] in host memory; overwritten
   */
  static UniqueIdExchange over(Communicator host, Tensor message) {
    if (message.dtype() != DType.UINT8
        || message.elementCount() != NcclConstants.GROUP_ID_BYTES
        || !message.device().isCpu()) {
      throw new IllegalArgumentException(
          "NCCL's identifier is "
              + NcclConstants.GROUP_ID_BYTES
              + " UINT8 in host memory, which "
              + message
              + " is not");
    }
    return id -> {
      ByteBuffer bytes = message.byteBuffer(0, id.length);
      bytes.put(0, id);
      host.broadcast(message, 0).await();
      bytes.get(0, id);
    };
  }
}
