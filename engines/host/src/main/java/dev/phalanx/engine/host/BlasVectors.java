package dev.phalanx.engine.host;

import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import org.bytedeco.openblas.global.openblas_nolapack;

/** Sums of FLOAT32 vectors that lie anywhere in memory, by OpenBLAS; one thread calls it. */
public final class BlasVectors {
  /**
   * Elements of one BLAS dot product: its 64 or so running sums take 16 squares each, which leaves
   * the relative error near that of one rounding, and a call costs little beside them.
   */
  private static final int SQUARES_PIECE = 1024;

  /** Elements of one call: BLAS counts with an {@code int}. */
  private static final long PIECE = 1 << 30;

  /** As many numbers of rows are read at once as a buffer of 2 GB holds with room to spare. */
  private static final long IDS_PIECE = 1 << 27;

  private final FloatAddress from = new FloatAddress();
  private final FloatAddress to = new FloatAddress();

  /** The sum of the squares of {@code count} numbers, added up in a {@code double}. */
  public double squares(long address, long count) {
    double total = 0;
    for (long start = 0; start < count; start += SQUARES_PIECE) {
      int length = (int) Math.min(SQUARES_PIECE, count - start);
      from.moveTo(address + Float.BYTES * start);
      total += openblas_nolapack.cblas_sdot(length, from, 1, from, 1);
    }
    return total;
  }

  /** {@code y += alpha x}. */
  public void addScaled(double alpha, long x, long y, long count) {
    for (long start = 0; start < count; start += PIECE) {
      int length = (int) Math.min(PIECE, count - start);
      openblas_nolapack.cblas_saxpy(
          length,
          (float) alpha,
          from.moveTo(x + Float.BYTES * start),
          1,
          to.moveTo(y + Float.BYTES * start),
          1);
    }
  }

  /** {@code y = alpha x + beta y}, for fewer than 2^31 elements. */
  public void mix(double alpha, long x, double beta, long y, long count) {
    int length = Math.toIntExact(count);
    openblas_nolapack.cblas_sscal(length, (float) beta, to.moveTo(y), 1);
    openblas_nolapack.cblas_saxpy(length, (float) alpha, from.moveTo(x), 1, to, 1);
  }

  /**
   * Adds rows by number to those rows of a larger FLOAT32 table that are here; others are left out.
   * One call a row: LibTorch's own index_add_ takes some ten times as long.
   *
   * @param rows where the row of number {@code start} lies, the others behind it
   * @param ids numbers of rows, of which {@code count} from {@code start} are taken
   * @param table [v, d], rows {@code firstRow} to {@code firstRow + v - 1} of the larger one
   */
  public void addRows(long rows, Tensor ids, long start, long count, Tensor table, long firstRow) {
    int width = Math.toIntExact(table.size(1));
    long rowBytes = Float.BYTES * (long) width;
    for (long done = 0; done < count; done += IDS_PIECE) {
      int length = (int) Math.min(IDS_PIECE, count - done);
      LongBuffer numbers =
          ids.byteBuffer(Long.BYTES * (start + done), Long.BYTES * length).asLongBuffer();
      for (int i = 0; i < length; i++) {
        long row = numbers.get(i) - firstRow;
        if (row >= 0 && row < table.size(0)) {
          openblas_nolapack.cblas_saxpy(
              width,
              1,
              from.moveTo(rows + (done + i) * rowBytes),
              1,
              to.moveTo(table.address() + row * rowBytes),
              1);
        }
      }
    }
  }
}
