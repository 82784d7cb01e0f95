package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.HostAdder;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Combines runs of elements in host memory, which are in native byte order whatever the order of
 * their buffers. Buffers start at any address, on or off the heap, and are left as they are but for
 * the elements.
 *
 * <p>BFLOAT16 and FLOAT16 are added as FLOAT32 and rounded to the nearest, to even where two are as
 * near; a FLOAT16 past the largest becomes infinite. The minimum and the maximum with what is no
 * number are none, and -0 is less than 0. Sums of whole numbers wrap in their type; those of UINT8,
 * which has no negative numbers, modulo 256.
 *
 * <p>Long sums of FLOAT32 are left to a native library where there is one.
 *
 * <p>One thread at a time.
 */
final class HostReduction {
  /** Numbers from which a call of native code is worth its while. */
  private static final int NATIVE_FROM = 4096;

  private final Map<DType, ElementBlocks<?, ?>> blocks = new EnumMap<>(DType.class);
  private final Supplier<Optional<HostAdder>> adders;
  private @Nullable Optional<HostAdder> adder; // looked for where it is needed first

  HostReduction() {
    this(HostAdder::find);
  }

  HostReduction(Supplier<Optional<HostAdder>> adders) {
    this.adders = adders;
  }

  /** {@code into = into (operation) from}. */
  void reduce(DType dtype, ReduceOperation operation, ByteBuffer from, ByteBuffer into) {
    reduce(dtype, operation, from, into, into);
  }

  /**
   * {@code into = other (operation) from}. The three have as many elements; {@code into} may be the
   * memory of one of the others, but not overlap it otherwise.
   *
   * @param operation {@code AVERAGE} sums here; see {@link #divide}
   */
  void reduce(
      DType dtype, ReduceOperation operation, ByteBuffer from, ByteBuffer other, ByteBuffer into) {
    boolean isSum = operation == ReduceOperation.SUM || operation == ReduceOperation.AVERAGE;
    if (dtype == DType.FLOAT32 && isSum && addedNatively(from, other, into)) {
      return;
    }
    blocks(dtype).combine(operation, elements(from), elements(other), elements(into));
  }

  /**
   * Divides every element, the last step of an average. Whole numbers are rounded towards zero. A
   * sum that wrapped in its type has done so before: the average of 200 and 100 in UINT8 is 22.
   */
  void divide(DType dtype, ByteBuffer values, int divisor) {
    blocks(dtype).divide(elements(values), divisor);
  }

  private static ByteBuffer elements(ByteBuffer bytes) {
    return bytes.slice().order(ByteOrder.nativeOrder());
  }

  private boolean addedNatively(ByteBuffer from, ByteBuffer other, ByteBuffer into) {
    boolean isDirect = from.isDirect() && into.isDirect();
    if (!isDirect || into.remaining() < NATIVE_FROM * DType.FLOAT32.byteSize()) {
      return false;
    }
    Optional<HostAdder> found = adder;
    if (found == null) {
      found = adders.get();
      adder = found;
    }
    if (found.isEmpty()) {
      return false;
    }
    if (other != into) {
      into.slice().put(other.slice());
    }
    found.get().add(elements(from).asFloatBuffer(), elements(into).asFloatBuffer());
    return true;
  }

  private ElementBlocks<?, ?> blocks(DType dtype) {
    return blocks.computeIfAbsent(dtype, ElementBlocks::of);
  }
}
