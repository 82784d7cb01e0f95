package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.BlasVectors;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.FloatAddress;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.global.torch;

/** Rows of tables by number: embeddings and their gradients. */
final class Rows {
  private static final long CHUNK_ELEMENTS = 64 * 1024;

  private final TorchContext context;
  private final Scratch gathered;
  private final Scratch widened;
  private final Scratch shifted;
  private final BlasVectors blas = new BlasVectors();
  private final FloatAddress elsewhere = new FloatAddress();

  Rows(TorchContext context) {
    this.context = context;
    this.gathered = context.scratch();
    this.widened = context.scratch();
    this.shifted = context.scratch();
  }

  void gather(Tensor table, Tensor ids, Tensor out, boolean accumulate) {
    EngineContract.gatherRows(table, ids, out);
    if (out.elementCount() == 0) {
      return;
    }
    if (!accumulate) {
      torch.index_select_out(context.of(out), context.of(table), 0, context.of(ids));
      return;
    }
    long width = out.size(1);
    long chunk = Math.max(1, CHUNK_ELEMENTS / width);
    for (long start = 0; start < out.size(0); start += chunk) {
      long count = Math.min(chunk, out.size(0) - start);
      var rows = gathered.get(out.dtype(), count, width);
      try (var someIds = context.of(ids).narrow(0, start, count);
          var outRows = context.of(out).narrow(0, start, count)) {
        torch.index_select_out(rows, context.of(table), 0, someIds);
        outRows.add_(rows);
      }
    }
  }

  void scatterAdd(Tensor rows, Tensor ids, Tensor table) {
    EngineContract.scatterAddRows(rows, ids, table);
    if (rows.elementCount() == 0) {
      return;
    }
    if (table.dtype() != DType.FLOAT32) {
      context.of(table).index_add_(0, context.of(ids), context.of(rows));
    } else {
      addToFloat32(rows, ids, table, 0);
    }
  }

  /** Rows that are none of the table's are left out. */
  private void addToFloat32(Tensor rows, Tensor ids, Tensor table, long firstRow) {
    if (rows.dtype() == DType.FLOAT32) {
      context.of(rows);
      blas.addRows(rows.address(), ids, 0, ids.size(0), table, firstRow);
      return;
    }
    long width = rows.size(1);
    long chunk = Math.max(1, CHUNK_ELEMENTS / width);
    for (long start = 0; start < rows.size(0); start += chunk) {
      long count = Math.min(chunk, rows.size(0) - start);
      var wide = widened.get(DType.FLOAT32, count, width);
      try (var someRows = context.of(rows).narrow(0, start, count)) {
        wide.copy_(someRows);
      }
      blas.addRows(wide.data_ptr().address(), ids, start, count, table, firstRow);
    }
  }

  void gatherWithin(Tensor table, long firstRow, Tensor ids, Tensor out) {
    EngineContract.gatherRowsWithin(table, ids, out);
    int count = Math.toIntExact(ids.size(0));
    if (out.elementCount() == 0 || table.size(0) == 0) {
      context.of(out).zero_();
      return;
    }
    long[] rows = new long[count];
    boolean[] isHere = new boolean[count];
    LongBuffer numbers = ids.byteBuffer(0, Math.multiplyExact(Long.BYTES, count)).asLongBuffer();
    for (int i = 0; i < count; i++) {
      long row = numbers.get(i) - firstRow;
      isHere[i] = row >= 0 && row < table.size(0);
      rows[i] = isHere[i] ? row : 0;
    }
    var places = shifted.get(DType.INT64, count);
    TorchContext.hostLongs(places).put(rows);
    torch.index_select_out(context.of(out), context.of(table), 0, places);
    long rowBytes = out.dtype().bytes(out.size(1));
    for (int i = 0; i < count; i++) {
      if (!isHere[i]) { // a product with 0 would be no zero where the first row is not finite
        Pointer.memset(elsewhere.moveTo(out.address() + i * rowBytes), 0, rowBytes);
      }
    }
  }

  void scatterAddWithin(Tensor rows, Tensor ids, Tensor table, long firstRow) {
    EngineContract.scatterAddRowsWithin(rows, ids, table);
    if (rows.elementCount() > 0) {
      addToFloat32(rows, ids, table, firstRow);
    }
  }
}
