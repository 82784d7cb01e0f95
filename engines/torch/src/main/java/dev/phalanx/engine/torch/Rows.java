package dev.phalanx.engine.torch;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.global.torch;

/** Rows of tables by number: embeddings and their gradients. */
final class Rows {
  private static final long CHUNK_ELEMENTS = 64 * 1024;

  /** As many numbers of rows are read at once as a buffer of 2 GB holds with room to spare. */
  private static final long IDS_PIECE = 1 << 27;

  private final TorchContext context;
  private final Scratch gathered;
  private final Scratch widened;
  private final Scratch shifted;
  private final Scratch mask;
  private final FloatAddress from = new FloatAddress();
  private final FloatAddress to = new FloatAddress();

  Rows(TorchContext context) {
    this.context = context;
    this.gathered = context.scratch();
    this.widened = context.scratch();
    this.shifted = context.scratch();
    this.mask = context.scratch();
  }

  void gather(Tensor table, Tensor ids, Tensor out, boolean accumulate) {
    Arguments.floating("gatherRows", table, out);
    check("gatherRows", table, ids, out);
    checkIds("gatherRows", ids, table.size(0));
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
    Arguments.floating("scatterAddRows", rows);
    Arguments.sameOrWider("scatterAddRows", rows, table);
    check("scatterAddRows", table, ids, rows);
    checkIds("scatterAddRows", ids, table.size(0));
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
      addRows(rows.address(), ids, 0, ids.size(0), table, firstRow);
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
      addRows(wide.data_ptr().address(), ids, start, count, table, firstRow);
    }
  }

  void gatherWithin(Tensor table, long firstRow, Tensor ids, Tensor out) {
    Arguments.floating("gatherRowsWithin", table, out);
    check("gatherRowsWithin", table, ids, out);
    int count = Math.toIntExact(ids.size(0));
    if (out.elementCount() == 0 || table.size(0) == 0) {
      context.of(out).zero_();
      return;
    }
    long[] rows = new long[count];
    float[] isHere = new float[count];
    LongBuffer numbers = ids.byteBuffer(0, Math.multiplyExact(Long.BYTES, count)).asLongBuffer();
    for (int i = 0; i < count; i++) {
      long row = numbers.get(i) - firstRow;
      boolean within = row >= 0 && row < table.size(0);
      rows[i] = within ? row : 0;
      isHere[i] = within ? 1 : 0;
    }
    var places = shifted.get(DType.INT64, count);
    var factors = mask.get(DType.FLOAT32, count, 1);
    TorchContext.hostLongs(places).put(rows);
    TorchContext.hostFloats(factors).put(isHere);
    torch.index_select_out(context.of(out), context.of(table), 0, places);
    context.of(out).mul_(factors);
  }

  void scatterAddWithin(Tensor rows, Tensor ids, Tensor table, long firstRow) {
    Arguments.floating("scatterAddRowsWithin", rows);
    Arguments.type("scatterAddRowsWithin", DType.FLOAT32, table);
    check("scatterAddRowsWithin", table, ids, rows);
    if (rows.elementCount() > 0) {
      addToFloat32(rows, ids, table, firstRow);
    }
  }

  /** One BLAS call a row: LibTorch's own index_add_ takes some ten times as long. */
  private void addRows(long rows, Tensor ids, long start, long count, Tensor table, long firstRow) {
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

  private static void check(String kernel, Tensor table, Tensor ids, Tensor rows) {
    Arguments.type(kernel, DType.INT64, ids);
    Arguments.contiguous(kernel, table, ids, rows);
    if (table.shape().rank() != 2
        || ids.shape().rank() != 1
        || !Arguments.isMatrix(rows, ids.size(0), table.size(1))) {
      throw Arguments.unfit(kernel, "a table [v, d], ids [n] and rows [n, d]", table, ids, rows);
    }
  }

  private static void checkIds(String kernel, Tensor ids, long vocabulary) {
    for (long start = 0; start < ids.size(0); start += IDS_PIECE) {
      int length = (int) Math.min(IDS_PIECE, ids.size(0) - start);
      LongBuffer numbers = ids.byteBuffer(Long.BYTES * start, Long.BYTES * length).asLongBuffer();
      for (int i = 0; i < length; i++) {
        long id = numbers.get(i);
        if (id < 0 || id >= vocabulary) {
          throw new IllegalArgumentException(
              kernel
                  + " was given row number "
                  + id
                  + " at place "
                  + (start + i)
                  + " for a table of "
                  + vocabulary
                  + " rows (the vocabulary size)");
        }
      }
    }
  }
}
