package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.function.UnaryOperator;

/**
 * Arithmetic on the elements of buffers, block by block in arrays that stay in the first cache
 * level: the JVM turns loops over arrays into vector instructions, and loops over buffers of native
 * memory not always.
 *
 * <p>One thread at a time.
 *
 * @param <V> the buffer that elements are copied from and to
 * @param <A> the array that the arithmetic works on, which may have wider elements
 */
final class ElementBlocks<V, A> {
  /** Elements of a block. */
  static final int LENGTH = 1024;

  /** Copies elements of a buffer, from {@code index} on, to or from the first of an array. */
  private interface Copy<V, A> {
    void copy(V buffer, int index, A array, int count);
  }

  /** {@code into[i] = into[i] (operation) from[i]}. */
  private interface Combination<A> {
    void combine(ReduceOperation operation, A from, A into, int count);
  }

  /** {@code values[i] /= divisor}. */
  private interface Division<A> {
    void divide(A values, int divisor, int count);
  }

  private final int elementBytes;
  private final A block;
  private final A otherBlock;
  private final Function<ByteBuffer, V> view;
  private final Copy<V, A> read;
  private final Copy<V, A> write;
  private final Combination<A> combination;
  private final Division<A> division;

  private ElementBlocks(
      DType dtype,
      IntFunction<A> array,
      Function<ByteBuffer, V> view,
      Copy<V, A> read,
      Copy<V, A> write,
      Combination<A> combination,
      Division<A> division) {
    this.elementBytes = dtype.byteSize();
    this.block = array.apply(LENGTH);
    this.otherBlock = array.apply(LENGTH);
    this.view = view;
    this.read = read;
    this.write = write;
    this.combination = combination;
    this.division = division;
  }

  /** Those of a type. */
  static ElementBlocks<?, ?> of(DType dtype) {
    return switch (dtype) {
      case FLOAT32 ->
          new ElementBlocks<FloatBuffer, float[]>(
              dtype,
              float[]::new,
              ByteBuffer::asFloatBuffer,
              (buffer, index, array, count) -> buffer.get(index, array, 0, count),
              (buffer, index, array, count) -> buffer.put(index, array, 0, count),
              Arithmetic::combine,
              Arithmetic::divide);
      case FLOAT64 ->
          new ElementBlocks<DoubleBuffer, double[]>(
              dtype,
              double[]::new,
              ByteBuffer::asDoubleBuffer,
              (buffer, index, array, count) -> buffer.get(index, array, 0, count),
              (buffer, index, array, count) -> buffer.put(index, array, 0, count),
              Arithmetic::combine,
              Arithmetic::divide);
      case INT32 ->
          new ElementBlocks<IntBuffer, int[]>(
              dtype,
              int[]::new,
              ByteBuffer::asIntBuffer,
              (buffer, index, array, count) -> buffer.get(index, array, 0, count),
              (buffer, index, array, count) -> buffer.put(index, array, 0, count),
              Arithmetic::combine,
              Arithmetic::divide);
      case INT64 ->
          new ElementBlocks<LongBuffer, long[]>(
              dtype,
              long[]::new,
              ByteBuffer::asLongBuffer,
              (buffer, index, array, count) -> buffer.get(index, array, 0, count),
              (buffer, index, array, count) -> buffer.put(index, array, 0, count),
              Arithmetic::combine,
              Arithmetic::divide);
      case BFLOAT16, FLOAT16 -> {
        HalfPrecision halves = HalfPrecision.of(dtype, LENGTH);
        yield new ElementBlocks<ByteBuffer, float[]>(
            dtype,
            float[]::new,
            UnaryOperator.identity(),
            halves::read,
            halves::write,
            Arithmetic::combine,
            Arithmetic::divide);
      }
      case UINT8 -> {
        UnsignedBytes bytes = new UnsignedBytes(LENGTH);
        yield new ElementBlocks<ByteBuffer, int[]>(
            dtype,
            int[]::new,
            UnaryOperator.identity(),
            bytes::read,
            bytes::write,
            Arithmetic::combine,
            Arithmetic::divide);
      }
    };
  }

  /** {@code into = other (operation) from}, of buffers that start at 0. */
  void combine(ReduceOperation operation, ByteBuffer from, ByteBuffer other, ByteBuffer into) {
    V source = view.apply(from);
    V otherSource = view.apply(other);
    V target = view.apply(into);
    int length = into.limit() / elementBytes;
    for (int start = 0; start < length; start += LENGTH) {
      int count = Math.min(LENGTH, length - start);
      read.copy(source, start, block, count);
      read.copy(otherSource, start, otherBlock, count);
      combination.combine(operation, block, otherBlock, count);
      write.copy(target, start, otherBlock, count);
    }
  }

  /** Divides every element of a buffer that starts at 0. */
  void divide(ByteBuffer values, int divisor) {
    V target = view.apply(values);
    int length = values.limit() / elementBytes;
    for (int start = 0; start < length; start += LENGTH) {
      int count = Math.min(LENGTH, length - start);
      read.copy(target, start, block, count);
      division.divide(block, divisor, count);
      write.copy(target, start, block, count);
    }
  }
}
