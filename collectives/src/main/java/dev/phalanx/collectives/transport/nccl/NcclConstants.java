package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;

/** NCCL's numbers for our names, as {@code nccl.h} has them; they are part of its binary form. */
final class NcclConstants {
  /** Bytes of a group's identifier. */
  static final int GROUP_ID_BYTES = 128;

  private NcclConstants() {}

  /** {@code ncclDataType_t}. */
  static int type(DType dtype) {
    return switch (dtype) {
      case UINT8 -> 1;
      case INT32 -> 2;
      case INT64 -> 4;
      case FLOAT16 -> 6;
      case FLOAT32 -> 7;
      case FLOAT64 -> 8;
      case BFLOAT16 -> 9;
    };
  }

  /** {@code ncclRedOp_t}. */
  static int reduction(ReduceOperation operation) {
    return switch (operation) {
      case SUM -> 0;
      case MAXIMUM -> 2;
      case MINIMUM -> 3;
      case AVERAGE -> 4;
    };
  }
}
