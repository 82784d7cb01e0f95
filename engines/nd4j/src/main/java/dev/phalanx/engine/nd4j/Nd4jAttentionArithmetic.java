package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.AttentionArithmetic;
import dev.phalanx.engine.host.BlockAttention.Block;
import dev.phalanx.engine.host.BlockAttention.Sequence;
import dev.phalanx.engine.host.HostTensors;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;

/** The arithmetic of attention's blocks, some rows at a time. */
final class Nd4jAttentionArithmetic implements AttentionArithmetic, AutoCloseable {
  private final NativeArrays arrays;
  private final Exponential exponential = new Exponential();
  private final FloatScratch scores = new FloatScratch();
  private final FloatScratch slopes = new FloatScratch();
  private final FloatPiece rows = new FloatPiece();
  private final FloatPiece rowSlopes = new FloatPiece();
  private final FloatPiece outputs = new FloatPiece();
  private final FloatPiece outputSlopes = new FloatPiece();
  private final FloatPiece statistics = new FloatPiece();

  /** Of each row of the block, head by head. */
  private float[] largest = {};

  private float[] sums = {};
  private long logSumExp;
  private long logSumExpHeadStride;

  Nd4jAttentionArithmetic(NativeArrays arrays) {
    this.arrays = arrays;
  }

  @Override
  public void fill(Tensor tensor, double value) {
    arrays.fill(HostTensors.open(tensor), value);
  }

  @Override
  public Sequence read(Tensor tensor, long batch, int number) {
    return place(tensor, batch, number);
  }

  @Override
  public Sequence place(Tensor tensor, long batch, int number) {
    Floats.address("attention", tensor); // refuses other types
    return Sequence.of(tensor, batch);
  }

  /** It was written in its place. */
  @Override
  public void write(Tensor tensor, long batch, int number) {}

  @Override
  public void begin(Tensor tensor, long batch) {
    logSumExp = Floats.at(Floats.address("attention", tensor), batch * tensor.stride(0));
    logSumExpHeadStride = tensor.stride(1);
  }

  @Override
  public void end() {}

  @Override
  public long scores(Block block) {
    return scores.get(block.heads() * block.rows() * block.stride());
  }

  @Override
  public long slopes(Block block) {
    return slopes.get(block.heads() * block.rows() * block.stride());
  }

  /** Some rows of a block, which has them head by head: what is done with one of them. */
  private interface RowWork {
    /**
     * @param at where the row begins in the piece
     * @param row in the block, all heads' counted
     * @param visible keys that it sees
     */
    void run(float[] values, int at, int row, int visible);
  }

  private void eachRow(
      float[] values, int firstRow, int count, int keys, Block block, RowWork work) {
    for (int i = 0; i < count; i++) {
      int row = firstRow + i;
      int visible = (int) block.keysOfRow(row % block.rows());
      work.run(values, i * keys, row, visible);
    }
  }

  @Override
  public void exponentials(Block block) {
    int count = Math.toIntExact(block.heads() * block.rows());
    if (largest.length < count) {
      largest = new float[count];
      sums = new float[count];
    }
    int keys = Math.toIntExact(block.keys());
    long matrix = scores(block);
    int most = FloatPiece.rowsOf(keys);
    for (int start = 0; start < count; start += most) {
      int some = Math.min(most, count - start);
      long address = Floats.at(matrix, start * block.stride());
      float[] values = rows.readRows(address, some, keys, block.stride());
      eachRow(
          values,
          start,
          some,
          keys,
          block,
          (all, at, row, visible) -> {
            largest[row] = FloatRows.largest(all, at, visible);
            FloatRows.subtract(all, at, visible, largest[row]);
            Arrays.fill(all, at + visible, at + keys, Float.NEGATIVE_INFINITY);
          });
      exponential.apply(values, some * keys);
      eachRow(
          values,
          start,
          some,
          keys,
          block,
          (all, at, row, visible) -> sums[row] = FloatRows.sum(all, at, visible));
      rows.writeRows(address, some, keys, block.stride());
    }
  }

  @Override
  public void finish(Block block, Sequence y, long width) {
    int rowCount = (int) block.rows();
    int size = Math.toIntExact(width);
    for (int head = 0; head < block.heads(); head++) {
      long outRows = y.at(block.firstRow(), block.firstHead() + head);
      float[] values = outputs.readRows(outRows, rowCount, size, y.positionStride());
      float[] logs = statistics.room(rowCount);
      for (int row = 0; row < rowCount; row++) {
        float sum = sums[head * rowCount + row];
        FloatRows.scale(values, row * size, size, 1 / sum);
        logs[row] = largest[head * rowCount + row] + (float) Math.log(sum);
      }
      outputs.writeRows(outRows, rowCount, size, y.positionStride());
      statistics.write(statisticsOf(block, head), rowCount);
    }
  }

  private long statisticsOf(Block block, long head) {
    return Floats.at(
        logSumExp, (block.firstHead() + head) * logSumExpHeadStride + block.firstRow());
  }

  @Override
  public void probabilities(Block block) {
    int rowCount = (int) block.rows();
    int keys = Math.toIntExact(block.keys());
    long matrix = scores(block);
    int most = FloatPiece.rowsOf(keys);
    for (int head = 0; head < block.heads(); head++) {
      float[] logs = statistics.read(statisticsOf(block, head), rowCount);
      for (int start = 0; start < rowCount; start += most) {
        int some = Math.min(most, rowCount - start);
        long address = Floats.at(matrix, ((long) head * rowCount + start) * block.stride());
        float[] values = rows.readRows(address, some, keys, block.stride());
        eachRow(
            values,
            start,
            some,
            keys,
            block,
            (all, at, row, visible) -> {
              FloatRows.subtract(all, at, visible, logs[row]);
              Arrays.fill(all, at + visible, at + keys, Float.NEGATIVE_INFINITY);
            });
        exponential.apply(values, some * keys);
        rows.writeRows(address, some, keys, block.stride());
      }
    }
  }

  @Override
  public void slopesOfScores(Block block, Sequence y, Sequence dY, long width) {
    int rowCount = (int) block.rows();
    int keys = Math.toIntExact(block.keys());
    int size = Math.toIntExact(width);
    long weights = scores(block);
    long gradients = slopes(block);
    int most = FloatPiece.rowsOf(keys);
    for (int head = 0; head < block.heads(); head++) {
      float[] out =
          outputs.readRows(
              y.at(block.firstRow(), block.firstHead() + head), rowCount, size, y.positionStride());
      float[] dOut =
          outputSlopes.readRows(
              dY.at(block.firstRow(), block.firstHead() + head),
              rowCount,
              size,
              dY.positionStride());
      for (int start = 0; start < rowCount; start += most) {
        int some = Math.min(most, rowCount - start);
        long first = ((long) head * rowCount + start) * block.stride();
        float[] probabilities =
            rows.readRows(Floats.at(weights, first), some, keys, block.stride());
        float[] values =
            rowSlopes.readRows(Floats.at(gradients, first), some, keys, block.stride());
        for (int i = 0; i < some; i++) {
          int at = (start + i) * size;
          float delta = FloatRows.dot(out, at, dOut, at, size);
          slopes(probabilities, values, i * keys, keys, delta);
        }
        rowSlopes.writeRows(Floats.at(gradients, first), some, keys, block.stride());
      }
    }
  }

  private static void slopes(
      float[] probabilities, float[] values, int start, int count, float delta) {
    for (int i = start; i < start + count; i++) {
      values[i] = probabilities[i] * (values[i] - delta);
    }
  }

  @Override
  public void close() {
    scores.close();
    slopes.close();
  }
}
