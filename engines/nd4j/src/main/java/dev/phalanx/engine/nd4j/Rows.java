package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.BlasVectors;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.FloatAddress;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import org.bytedeco.javacpp.Pointer;

/** Rows of tables by number: embeddings and their gradients. */
final class Rows {
  /** As many numbers of rows are read at once as a buffer of 2 GB holds with room to spare. */
  private static final long IDS_PIECE = 1 << 27;

  private final BlasVectors blas = new BlasVectors();
  private final FloatAddress from = new FloatAddress();
  private final FloatAddress to = new FloatAddress();

  void gather(Tensor table, Tensor ids, Tensor out, boolean accumulate) {
    EngineContract.gatherRows(table, ids, out);
    gather("gatherRows", table, 0, ids, out, accumulate);
  }

  void gatherWithin(Tensor table, long firstRow, Tensor ids, Tensor out) {
    EngineContract.gatherRowsWithin(table, ids, out);
    gather("gatherRowsWithin", table, firstRow, ids, out, false);
  }

  /** Rows that are none of the table's are zeros. */
  private void gather(
      String kernel, Tensor table, long firstRow, Tensor ids, Tensor out, boolean accumulate) {
    long rows = Floats.address(kernel, table);
    long results = Floats.address(kernel, out);
    long width = out.size(1);
    long rowBytes = Float.BYTES * width;
    for (long start = 0; start < ids.size(0); start += IDS_PIECE) {
      int length = (int) Math.min(IDS_PIECE, ids.size(0) - start);
      LongBuffer numbers = ids.byteBuffer(Long.BYTES * start, Long.BYTES * length).asLongBuffer();
      for (int i = 0; i < length; i++) {
        long row = numbers.get(i) - firstRow;
        long source = rows + row * rowBytes;
        long target = results + (start + i) * rowBytes;
        if (row < 0 || row >= table.size(0)) {
          Pointer.memset(to.moveTo(target), 0, rowBytes);
        } else if (accumulate) {
          blas.addScaled(1, source, target, width);
        } else {
          Pointer.memcpy(to.moveTo(target), from.moveTo(source), rowBytes);
        }
      }
    }
  }

  void scatterAdd(Tensor rows, Tensor ids, Tensor table) {
    EngineContract.scatterAddRows(rows, ids, table);
    Floats.address("scatterAddRows", table);
    blas.addRows(Floats.address("scatterAddRows", rows), ids, 0, ids.size(0), table, 0);
  }

  void scatterAddWithin(Tensor rows, Tensor ids, Tensor table, long firstRow) {
    EngineContract.scatterAddRowsWithin(rows, ids, table);
    Floats.address("scatterAddRowsWithin", table);
    blas.addRows(
        Floats.address("scatterAddRowsWithin", rows), ids, 0, ids.size(0), table, firstRow);
  }
}
