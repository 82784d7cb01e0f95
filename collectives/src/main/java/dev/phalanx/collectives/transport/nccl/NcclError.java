package dev.phalanx.collectives.transport.nccl;

/** A call of NCCL or CUDA did not succeed. The message is a clause without a full stop. */
final class NcclError extends RuntimeException {
  private static final long serialVersionUID = 1L;

  NcclError(String message) {
    super(message);
  }
}
