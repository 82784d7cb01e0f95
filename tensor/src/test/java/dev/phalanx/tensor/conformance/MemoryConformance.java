package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.OutOfNativeMemoryException;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Blocks of memory, {@code copy} and {@code fill}. */
public abstract class MemoryConformance extends KernelConformance {
  /** Nothing is left out: {@code copy} and {@code fill} take all types. */
  @Override
  protected void assumeKernelsTake(DType dtype) {}

  @Test
  void theEngineNamesItselfAndComputesOnTheCpu() {
    assertThat(engine.name()).isEqualTo(provider().name());
    assertThat(engine.description()).isNotBlank();
    assertThat(engine.supports(Device.CPU)).isTrue();
    assertThat(engine.supports(new Device(Device.Kind.CPU, 7))).isFalse();
    assertThat(engine.supports(DType.FLOAT32)).isTrue();
    assertThat(engine.supports(DType.INT64)).isFalse();
  }

  @Test
  void blocksAreAlignedAndReadableOnTheHost() {
    for (long bytes : new long[] {1, 63, 64, 4096, 3_000_000}) {
      Storage block = engine.allocate(Device.CPU, bytes);
      assertThat(block.address() % 64).isZero();
      assertThat(block.byteSize()).isGreaterThanOrEqualTo(bytes);
      assertThat(block.byteBuffer(0, (int) bytes).remaining()).isEqualTo((int) bytes);
      block.byteBuffer(bytes - 1, 1).put((byte) 42);
      assertThat(block.byteBuffer(bytes - 1, 1).get()).isEqualTo((byte) 42);
      block.free();
      block.free();
    }
  }

  /** As experts do, which get another number of tokens in each step. */
  @Test
  void anArenaWhoseSizesKeepChangingHoldsNoMoreThanTwiceWhatIsInUse() {
    Random random = new Random(5);
    try (Arena arena = new Arena(engine, Device.CPU)) {
      for (int step = 0; step < 300; step++) {
        List<Tensor> open = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
          open.add(arena.allocate(DType.FLOAT32, 1 + random.nextInt(20_000)));
        }
        open.forEach(Tensor::close);
        assertThat(arena.bytesReserved()).isLessThanOrEqualTo(2 * arena.peakBytesInUse());
      }
      Tensor again = arena.allocate(DType.FLOAT32, 12_345);
      Storage block = again.storage();
      again.close();
      assertThat(arena.allocate(DType.FLOAT32, 12_345).storage()).isSameAs(block);
    }
  }

  @Test
  void aBlockThatNoHostHasIsRefusedWithItsSize() {
    assertThatThrownBy(() -> engine.allocate(Device.CPU, 1L << 55))
        .isInstanceOf(OutOfNativeMemoryException.class)
        .hasMessageContaining(Long.toString(1L << 55));
    assertRefused("cuda:9", () -> engine.allocate(new Device(Device.Kind.CUDA, 9), 64));
  }

  @Test
  void copyCrossesDevicesAndConverts() {
    double[] numbers = {1, -2, 3.5, 100, 0, 7};
    Tensor onDevice = tensor(DType.FLOAT32, numbers, 2, 3);
    try (Arena host = new Arena(engine, Device.CPU)) {
      Tensor transposed = host.allocate(DType.BFLOAT16, 3, 2);
      engine.copy(onDevice, transposed.transpose(0, 1));
      engine.synchronize(onDevice.device());
      assertThat(transposed.byteBuffer(2, 2).getShort())
          .as("100 as a bfloat16 number, beside the first")
          .isEqualTo((short) 0x42c8);
      engine.fill(onDevice, 0);
      engine.copy(transposed.transpose(0, 1), onDevice);
      engine.synchronize(onDevice.device());
    }
    assertThat(values(onDevice)).containsExactly(numbers);
  }

  @Test
  void aWrappedBufferSharesItsMemory() {
    ByteBuffer buffer = ByteBuffer.allocateDirect(48).order(ByteOrder.nativeOrder());
    buffer.position(8);
    Storage block = engine.wrap(buffer);
    assertThat(block.byteSize()).isEqualTo(40);
    try (Tensor tensor = Tensor.over(block, 8, DType.FLOAT32, Shape.of(4))) {
      engine.fill(tensor, 2.5);
      engine.synchronize(Device.CPU);
      assertThat(buffer.getFloat(12)).isZero();
      assertThat(buffer.getFloat(16)).isEqualTo(2.5f);
      assertThat(buffer.getFloat(28)).isEqualTo(2.5f);
      assertThat(buffer.getFloat(32)).isZero();
      assertThat(tensor.byteBuffer(4, 4).getFloat()).isEqualTo(2.5f);
    }
    block.free();
    assertThatThrownBy(() -> engine.wrap(ByteBuffer.allocate(8)))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aClosedTensorIsRefused() {
    Tensor tensor = arena.zeros(DType.FLOAT32, 3);
    tensor.close();
    assertThatThrownBy(() -> engine.fill(tensor, 1)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void copyConvertsBetweenAllTypes() {
    double[] numbers = {0, 1, 2, 3, 100, 255, 7, 64};
    for (DType from : DType.values()) {
      for (DType to : DType.values()) {
        Tensor destination = arena.zeros(to, 2, 4);
        if (from == DType.FLOAT16 || to == DType.FLOAT16) {
          // FLOAT16 is only carried: there and back again.
          Tensor half = arena.zeros(DType.FLOAT16, 2, 4);
          engine.copy(tensor(DType.FLOAT32, numbers, 2, 4), half);
          destination = arena.zeros(DType.FLOAT32, 2, 4);
          engine.copy(half, destination);
        } else {
          engine.copy(tensor(from, numbers, 2, 4), destination);
        }
        assertThat(values(destination)).isEqualTo(numbers);
      }
    }
  }

  @Test
  void copyRoundsToNearestEven() {
    // Half way between neighbours in BFLOAT16 (down, up), just above half way, and the special
    // ones.
    double[] numbers = {
      1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1p-8 + 0x1p-20, -1 - 0x1p-8, 3.0e38, 0x1p-140
    };
    Tensor rounded = output(DType.BFLOAT16, 6);
    engine.copy(tensor(DType.FLOAT32, numbers, 6), rounded);
    assertThat(values(rounded))
        .containsExactly(
            Arrays.stream(numbers).map(v -> Numbers.rounded(DType.BFLOAT16, v)).toArray());

    double[] special = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY};
    Tensor kept = arena.zeros(DType.BFLOAT16, 3);
    engine.copy(tensor(DType.FLOAT32, special, 3), kept);
    assertThat(values(kept)).containsExactly(special);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16", "INT64", "UINT8"})
  void copyAndFillReachStridedViewsAlone(DType dtype) {
    Tensor source = arena.allocate(dtype, 3, 4);
    double[] numbers = new double[12];
    Arrays.setAll(numbers, i -> i + 1);
    Numbers.write(engine, source, numbers);
    Tensor wide = arena.zeros(dtype, 6, 5);

    engine.copy(source.transpose(0, 1), wide.slice(1, 1, 3).slice(0, 1, 4));
    engine.fill(wide.slice(1, 4, 1), 9);

    assertThat(values(wide))
        .containsExactly(
            0, 0, 0, 0, 9, //
            0, 1, 5, 9, 9, //
            0, 2, 6, 10, 9, //
            0, 3, 7, 11, 9, //
            0, 4, 8, 12, 9, //
            0, 0, 0, 0, 9);
  }

  @Test
  void emptyTensorsAreWelcomeAndOtherShapesAreNot() {
    engine.copy(arena.allocate(DType.FLOAT32, 0, 3), arena.allocate(DType.BFLOAT16, 0, 3));
    engine.fill(arena.allocate(DType.FLOAT32, 0), 1);
    assertRefused(
        "copy",
        () -> engine.copy(arena.zeros(DType.FLOAT32, 2, 3), arena.zeros(DType.FLOAT32, 3, 2)));
  }

  @Test
  void anotherThreadMayCallTheEngineNext() throws Exception {
    Tensor x = tensor(DType.FLOAT32, new double[] {1, 2, 3}, 3);
    engine.scale(x, 2);
    CompletableFuture.runAsync(() -> engine.scale(x, 5)).get(30, TimeUnit.SECONDS);
    engine.scale(x, 3);
    assertThat(values(x)).containsExactly(30, 60, 90);
  }
}
