package dev.phalanx.collectives.transport.nccl;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import java.util.Arrays;
import org.bytedeco.cuda.global.nccl;
import org.junit.jupiter.api.Test;

/**
 * Our numbers beside those of the binding, which the compiler writes into this class: nothing
 * native is loaded.
 */
final class NcclConstantsTest {
  @Test
  void typesAreThoseOfNccl() {
    assertThat(Arrays.stream(DType.values()).map(NcclConstants::type))
        .containsExactly(
            nccl.ncclFloat32,
            nccl.ncclBfloat16,
            nccl.ncclFloat16,
            nccl.ncclFloat64,
            nccl.ncclInt32,
            nccl.ncclInt64,
            nccl.ncclUint8);
  }

  @Test
  void reductionsAreThoseOfNccl() {
    assertThat(Arrays.stream(ReduceOperation.values()).map(NcclConstants::reduction))
        .containsExactly(nccl.ncclSum, nccl.ncclAvg, nccl.ncclMin, nccl.ncclMax);
  }

  @Test
  void anIdentifierIsAsLongAsThatOfNccl() {
    assertThat(NcclConstants.GROUP_ID_BYTES).isEqualTo(nccl.NCCL_UNIQUE_ID_BYTES);
  }
}
