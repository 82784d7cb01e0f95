package dev.phalanx.collectives.algorithm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every type and operation against arithmetic written down from the definition, bit for bit but for
 * the bits of what is no number.
 */
final class HostReductionTest {
  private static final int[] COUNTS = {0, 1, 2047, 2048, 2049, 5000};
  private static final int[] OFFSETS = {0, 1, 3, 4, 6};
  private static final int MARGIN = 16;
  private static final byte UNTOUCHED = 0x5a;

  private final HostReduction reduction = new HostReduction(Optional::empty);

  static Stream<Arguments> cases() {
    return Stream.of(DType.values())
        .flatMap(
            dtype ->
                Stream.of(ReduceOperation.values())
                    .flatMap(
                        operation ->
                            Stream.of(true, false)
                                .map(isDirect -> Arguments.of(dtype, operation, isDirect))));
  }

  @ParameterizedTest(name = "{0} {1}, direct: {2}")
  @MethodSource("cases")
  void everyElementIsCombinedAndNothingElseIsTouched(
      DType dtype, ReduceOperation operation, boolean isDirect) {
    for (int count : COUNTS) {
      for (int offset : OFFSETS) {
        long[] left = elements(dtype, count, offset);
        long[] right = partners(dtype, left);
        ByteBuffer from = buffer(dtype, left, isDirect, offset);
        ByteBuffer into = buffer(dtype, right, isDirect, OFFSETS.length - offset);
        reduction.reduce(dtype, operation, from, into);
        assertElements(dtype, from, left);
        assertElements(dtype, into, combined(dtype, operation, left, right));
      }
    }
  }

  @ParameterizedTest(name = "{0} {1}, direct: {2}")
  @MethodSource("cases")
  void theResultMayGoElsewhereOrOverEither(
      DType dtype, ReduceOperation operation, boolean isDirect) {
    long[] left = elements(dtype, 5000, 1);
    long[] right = partners(dtype, left);
    long[] expected = combined(dtype, operation, left, right);
    ByteBuffer from = buffer(dtype, left, isDirect, 1);
    ByteBuffer other = buffer(dtype, right, !isDirect, 2);
    ByteBuffer into = buffer(dtype, new long[5000], isDirect, 3);
    reduction.reduce(dtype, operation, from, other, into);
    assertElements(dtype, into, expected);
    assertElements(dtype, from, left);
    assertElements(dtype, other, right);
    reduction.reduce(dtype, operation, from, other, from);
    assertElements(dtype, from, expected);
  }

  @ParameterizedTest
  @EnumSource
  void everyElementIsDivided(DType dtype) {
    for (int count : COUNTS) {
      for (int divisor : new int[] {1, 2, 3, 7, 100}) {
        long[] elements = elements(dtype, count, divisor);
        long[] expected = new long[count];
        for (int i = 0; i < count; i++) {
          expected[i] = divided(dtype, elements[i], divisor);
        }
        for (boolean isDirect : new boolean[] {true, false}) {
          ByteBuffer values = buffer(dtype, elements, isDirect, divisor % 8);
          reduction.divide(dtype, values, divisor);
          assertElements(dtype, values, expected);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"BFLOAT16", "FLOAT16"})
  void everyHalfIsReadAndWrittenAsItIs(DType dtype) {
    long[] all = new long[1 << 16];
    for (int i = 0; i < all.length; i++) {
      all[i] = i;
    }
    ByteBuffer into = buffer(dtype, all, true, 0);
    reduction.reduce(dtype, ReduceOperation.MAXIMUM, buffer(dtype, all, true, 0), into);
    assertElements(dtype, into, all);
  }

  /** Sums of a number and parts of its last place, down to those that only subnormals have. */
  @ParameterizedTest
  @EnumSource(names = {"BFLOAT16", "FLOAT16"})
  void everyHalfPlusAnySmallerOneIsRoundedToTheNearest(DType dtype) {
    int exponentStep = dtype == DType.FLOAT16 ? 1 << 10 : 1 << 7;
    int infinity = dtype == DType.FLOAT16 ? 0x7c00 : 0x7f80;
    for (int steps = 0; steps < 14; steps++) {
      long[] left = new long[1 << 16];
      long[] right = new long[1 << 16];
      Random random = new Random(steps);
      for (int i = 0; i < left.length; i++) {
        left[i] = i;
        int exponent = Math.max(0, ((i & infinity) - steps * exponentStep));
        // few bits of mantissa, so that many sums are half-way between two numbers
        int mantissa = random.nextInt(4) * (exponentStep >> 2) | random.nextInt(2);
        right[i] = exponent | mantissa | (random.nextBoolean() ? 0x8000 : 0);
      }
      ByteBuffer into = buffer(dtype, right, true, 0);
      reduction.reduce(dtype, ReduceOperation.SUM, buffer(dtype, left, true, 0), into);
      assertElements(dtype, into, combined(dtype, ReduceOperation.SUM, left, right));
    }
  }

  @Test
  void anAverageOfUnsignedBytesDividesTheSumThatWrapped() {
    ByteBuffer into = buffer(DType.UINT8, new long[] {100, 250}, true, 0);
    ByteBuffer from = buffer(DType.UINT8, new long[] {200, 3}, true, 0);
    reduction.reduce(DType.UINT8, ReduceOperation.AVERAGE, from, into);
    reduction.divide(DType.UINT8, into, 2);
    assertElements(DType.UINT8, into, new long[] {22, 126});
  }

  @Test
  void aSumPastTheLargestHalfIsInfiniteAndOneHalfWayStaysBelowIt() {
    long largest = 0x7bff; // 65504, whose last place is 32
    long sixteen = 0x4c00;
    long belowSixteen = 0x4bff;
    ByteBuffer into = buffer(DType.FLOAT16, new long[] {largest, largest}, true, 0);
    ByteBuffer from = buffer(DType.FLOAT16, new long[] {sixteen, belowSixteen}, true, 0);
    reduction.reduce(DType.FLOAT16, ReduceOperation.SUM, from, into);
    assertElements(DType.FLOAT16, into, new long[] {0x7c00, largest});
  }

  @Test
  void longSumsInNativeMemoryAreLeftToTheAdder() {
    List<Integer> calls = new ArrayList<>();
    HostReduction withAdder =
        new HostReduction(
            () ->
                Optional.of(
                    (from, into) -> {
                      calls.add(into.remaining());
                      for (int i = 0; i < into.remaining(); i++) {
                        into.put(i, into.get(i) + from.get(i));
                      }
                    }));
    for (int count : new int[] {4095, 4096, 5000}) {
      long[] left = elements(DType.FLOAT32, count, 7);
      long[] right = partners(DType.FLOAT32, left);
      long[] expected = combined(DType.FLOAT32, ReduceOperation.SUM, left, right);
      ByteBuffer from = buffer(DType.FLOAT32, left, true, 0);
      ByteBuffer other = buffer(DType.FLOAT32, right, true, 4);
      ByteBuffer elsewhere = buffer(DType.FLOAT32, new long[count], true, 8);
      withAdder.reduce(DType.FLOAT32, ReduceOperation.AVERAGE, from, other, elsewhere);
      assertElements(DType.FLOAT32, elsewhere, expected);
      assertElements(DType.FLOAT32, other, right);
      withAdder.reduce(DType.FLOAT32, ReduceOperation.SUM, from, other);
      assertElements(DType.FLOAT32, other, expected);
      withAdder.reduce(DType.FLOAT32, ReduceOperation.MAXIMUM, from, other);
      withAdder.reduce(
          DType.FLOAT32, ReduceOperation.SUM, from, buffer(DType.FLOAT32, right, false, 0));
    }
    assertThat(calls).containsExactly(4096, 4096, 5000, 5000);
  }

  /** Bit patterns: pairs of special ones with {@link #partners} first, then any. */
  private static long[] elements(DType dtype, int count, long seed) {
    Random random = new Random(seed);
    long[] special = special(dtype);
    long[] elements = new long[count];
    for (int i = 0; i < count; i++) {
      elements[i] =
          i < special.length * special.length
              ? special[(int) (i + seed) % special.length]
              : random.nextLong() & mask(dtype);
    }
    return elements;
  }

  private static long[] partners(DType dtype, long[] elements) {
    Random random = new Random(elements.length);
    long[] special = special(dtype);
    long[] partners = new long[elements.length];
    for (int i = 0; i < partners.length; i++) {
      if (i < special.length * special.length) {
        partners[i] = special[i / special.length];
      } else if (random.nextBoolean()) { // about as large
        partners[i] = (elements[i] ^ random.nextInt(64)) & mask(dtype);
      } else {
        partners[i] = random.nextLong() & mask(dtype);
      }
    }
    return partners;
  }

  private static long[] special(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> specialFloats(Float.MAX_EXPONENT, 23, Float.floatToRawIntBits(1.0f), dtype);
      case FLOAT64 ->
          specialFloats(Double.MAX_EXPONENT, 52, Double.doubleToRawLongBits(1.0), dtype);
      case BFLOAT16 -> specialFloats(127, 7, 0x3f80, dtype);
      case FLOAT16 -> specialFloats(15, 10, 0x3c00, dtype);
      case INT32, INT64, UINT8 -> {
        long most = mask(dtype);
        yield new long[] {0, 1, 2, most, most - 1, most >>> 1, (most >>> 1) + 1, most / 3};
      }
    };
  }

  private static long[] specialFloats(int bias, int mantissaBits, long one, DType dtype) {
    long infinity = (2L * bias + 1) << mantissaBits;
    long smallestNormal = 1L << mantissaBits;
    long[] positive = {
      0,
      1,
      3,
      smallestNormal - 1,
      smallestNormal,
      smallestNormal + 1,
      one,
      one + 1,
      infinity - 1,
      infinity - 2,
      infinity,
      infinity + 1,
      infinity | (smallestNormal >> 1), // no numbers, signalling and quiet
      one - (mantissaBits + 1) * smallestNormal, // half of one's last place, and a bit more
      one - (mantissaBits + 1) * smallestNormal + 1,
      infinity - (mantissaBits + 2) * smallestNormal // half of the largest one's
    };
    long sign = (mask(dtype) >>> 1) + 1;
    long[] both = new long[2 * positive.length];
    for (int i = 0; i < positive.length; i++) {
      both[2 * i] = positive[i];
      both[2 * i + 1] = positive[i] | sign;
    }
    return both;
  }

  private static long mask(DType dtype) {
    return -1L >>> (64 - 8 * dtype.byteSize());
  }

  private static long[] combined(
      DType dtype, ReduceOperation operation, long[] left, long[] right) {
    long[] results = new long[left.length];
    for (int i = 0; i < results.length; i++) {
      results[i] =
          dtype.isFloatingPoint()
              ? bits(dtype, floats(operation, number(dtype, left[i]), number(dtype, right[i])))
              : mask(dtype)
                  & integers(operation, integer(dtype, left[i]), integer(dtype, right[i]));
    }
    return results;
  }

  private static long divided(DType dtype, long element, int divisor) {
    return dtype.isFloatingPoint()
        ? bits(dtype, number(dtype, element) / divisor)
        : mask(dtype) & (integer(dtype, element) / divisor);
  }

  /** Sums in double precision, which rounding once more does not make worse. */
  private static double floats(ReduceOperation operation, double left, double right) {
    return switch (operation) {
      case SUM, AVERAGE -> left + right;
      case MINIMUM -> Math.min(left, right);
      case MAXIMUM -> Math.max(left, right);
    };
  }

  private static long integers(ReduceOperation operation, long left, long right) {
    return switch (operation) {
      case SUM, AVERAGE -> left + right;
      case MINIMUM -> Math.min(left, right);
      case MAXIMUM -> Math.max(left, right);
    };
  }

  private static long integer(DType dtype, long bits) {
    return switch (dtype) {
      case UINT8, INT64 -> bits;
      case INT32 -> (int) bits;
      case FLOAT32, BFLOAT16, FLOAT16, FLOAT64 -> throw new IllegalArgumentException();
    };
  }

  private static double number(DType dtype, long bits) {
    return switch (dtype) {
      case FLOAT32 -> Float.intBitsToFloat((int) bits);
      case FLOAT64 -> Double.longBitsToDouble(bits);
      case BFLOAT16 -> half(bits, 127, 7);
      case FLOAT16 -> half(bits, 15, 10);
      case INT32, INT64, UINT8 -> throw new IllegalArgumentException();
    };
  }

  private static double half(long bits, int bias, int mantissaBits) {
    long mantissa = bits & ((1L << mantissaBits) - 1);
    int exponent = (int) ((bits & 0x7fff) >>> mantissaBits);
    double magnitude;
    if (exponent == 2 * bias + 1) {
      magnitude = mantissa == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
    } else if (exponent == 0) {
      magnitude = Math.scalb((double) mantissa, 1 - bias - mantissaBits);
    } else {
      magnitude =
          Math.scalb((double) (mantissa + (1L << mantissaBits)), exponent - bias - mantissaBits);
    }
    return (bits & 0x8000) == 0 ? magnitude : -magnitude;
  }

  private static long bits(DType dtype, double value) {
    return switch (dtype) {
      case FLOAT32 -> Float.floatToRawIntBits((float) value) & mask(dtype);
      case FLOAT64 -> Double.doubleToRawLongBits(value);
      case BFLOAT16 -> halfBits(value, 127, 7);
      case FLOAT16 -> halfBits(value, 15, 10);
      case INT32, INT64, UINT8 -> throw new IllegalArgumentException();
    };
  }

  /** Counts the places of the last bit, to the even number where two are as near. */
  private static long halfBits(double value, int bias, int mantissaBits) {
    long infinity = (2L * bias + 1) << mantissaBits;
    if (Double.isNaN(value)) {
      return infinity + 1;
    }
    long sign = Double.doubleToRawLongBits(value) < 0 ? 0x8000 : 0;
    double magnitude = Math.abs(value);
    if (Double.isInfinite(magnitude)) {
      return sign | infinity;
    }
    int exponent = Math.max(Math.getExponent(magnitude), 1 - bias);
    long places = (long) Math.rint(Math.scalb(magnitude, mantissaBits - exponent));
    long bits = places + ((long) (exponent + bias - 1) << mantissaBits);
    return sign | Math.min(bits, infinity);
  }

  /** The elements from an address on that the offset shifts, with a margin on both sides. */
  private static ByteBuffer buffer(DType dtype, long[] elements, boolean isDirect, int offset) {
    int bytes = elements.length * dtype.byteSize();
    int start = MARGIN + offset;
    int capacity = start + bytes + MARGIN;
    ByteBuffer buffer =
        isDirect ? ByteBuffer.allocateDirect(capacity) : ByteBuffer.allocate(capacity);
    buffer.order(ByteOrder.nativeOrder());
    for (int i = 0; i < capacity; i++) {
      buffer.put(i, UNTOUCHED);
    }
    for (int i = 0; i < elements.length; i++) {
      int at = start + i * dtype.byteSize();
      switch (dtype.byteSize()) {
        case 1 -> buffer.put(at, (byte) elements[i]);
        case 2 -> buffer.putShort(at, (short) elements[i]);
        case 4 -> buffer.putInt(at, (int) elements[i]);
        default -> buffer.putLong(at, elements[i]);
      }
    }
    return buffer.position(start).limit(start + bytes);
  }

  private static void assertElements(DType dtype, ByteBuffer buffer, long[] expected) {
    int start = buffer.position();
    assertThat(buffer.remaining()).isEqualTo(expected.length * dtype.byteSize());
    for (int i = 0; i < expected.length; i++) {
      int at = start + i * dtype.byteSize();
      long found =
          mask(dtype)
              & switch (dtype.byteSize()) {
                case 1 -> buffer.get(at);
                case 2 -> buffer.getShort(at);
                case 4 -> buffer.getInt(at);
                default -> buffer.getLong(at);
              };
      if (found != expected[i] && !(isNan(dtype, found) && isNan(dtype, expected[i]))) {
        assertThat(Long.toHexString(found))
            .as("%s: element %d of %d", dtype, i, expected.length)
            .isEqualTo(Long.toHexString(expected[i]));
      }
    }
    ByteBuffer all = buffer.duplicate().clear();
    for (int i = 0; i < all.capacity(); i++) {
      if (i < start || i >= buffer.limit()) {
        assertThat(all.get(i)).as("byte %d outside the elements", i).isEqualTo(UNTOUCHED);
      }
    }
  }

  private static boolean isNan(DType dtype, long bits) {
    return dtype.isFloatingPoint() && Double.isNaN(number(dtype, bits));
  }
}
