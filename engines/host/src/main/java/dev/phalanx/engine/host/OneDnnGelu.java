package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import java.util.List;
import java.util.Optional;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.global.dnnl;

/**
 * GELU by its tangent, and its gradient, of numbers of one type by oneDNN: in half the time of
 * LibTorch's, a third with BFLOAT16. Pieces of one size share one kernel; what is left behind the
 * last whole piece is the matter of whoever calls.
 */
final class OneDnnGelu implements AutoCloseable {
  /** Numbers of a piece. */
  static final int PIECE = 1 << 14;

  private final OneDnn library;
  private final dnnl_primitive forward = new dnnl_primitive();
  private final dnnl_primitive backward = new dnnl_primitive();
  private final dnnl_memory input = new dnnl_memory();
  private final dnnl_memory given = new dnnl_memory();
  private final dnnl_memory result = new dnnl_memory();
  private final dnnl_exec_arg_t forwardArguments = new dnnl_exec_arg_t(2);
  private final dnnl_exec_arg_t backwardArguments = new dnnl_exec_arg_t(3);
  private final FloatAddress inputAddress = new FloatAddress();
  private final FloatAddress givenAddress = new FloatAddress();
  private final FloatAddress resultAddress = new FloatAddress();
  private final long numberBytes;
  private boolean isClosed;

  /** Nothing where oneDNN has no kernel for numbers of this type that is made for the processor. */
  static Optional<OneDnnGelu> of(OneDnn library, DType type) {
    int oneDnnType = OneDnn.typeOf(type);
    if (oneDnnType == dnnl.dnnl_data_type_undef) {
      return Optional.empty();
    }
    dnnl_memory_desc piece = new dnnl_memory_desc();
    dnnl_primitive_desc forwardPlan = new dnnl_primitive_desc();
    dnnl_primitive_desc backwardPlan = new dnnl_primitive_desc();
    try {
      return plan(piece, oneDnnType, forwardPlan, backwardPlan, library.engine())
              && isFast(forwardPlan)
              && isFast(backwardPlan)
          ? Optional.of(new OneDnnGelu(library, type, piece, forwardPlan, backwardPlan))
          : Optional.empty();
    } finally {
      dnnl.dnnl_primitive_desc_destroy(backwardPlan);
      dnnl.dnnl_primitive_desc_destroy(forwardPlan);
      dnnl.dnnl_memory_desc_destroy(piece);
    }
  }

  private OneDnnGelu(
      OneDnn library,
      DType type,
      dnnl_memory_desc piece,
      dnnl_primitive_desc forwardPlan,
      dnnl_primitive_desc backwardPlan) {
    this.library = library;
    this.numberBytes = type.bytes(1);
    try {
      check(dnnl.dnnl_primitive_create(forward, forwardPlan));
      check(dnnl.dnnl_primitive_create(backward, backwardPlan));
      for (dnnl_memory memory : List.of(input, given, result)) {
        check(dnnl.dnnl_memory_create(memory, piece, library.engine(), null));
      }
    } catch (IllegalStateException e) {
      close();
      throw e;
    }
    forwardArguments.getPointer(0).arg(dnnl.DNNL_ARG_SRC).memory(input);
    forwardArguments.getPointer(1).arg(dnnl.DNNL_ARG_DST).memory(result);
    backwardArguments.getPointer(0).arg(dnnl.DNNL_ARG_SRC).memory(input);
    backwardArguments.getPointer(1).arg(dnnl.DNNL_ARG_DIFF_DST).memory(given);
    backwardArguments.getPointer(2).arg(dnnl.DNNL_ARG_DIFF_SRC).memory(result);
  }

  /** Whether oneDNN has GELU of this type. */
  private static boolean plan(
      dnnl_memory_desc piece,
      int type,
      dnnl_primitive_desc forward,
      dnnl_primitive_desc backward,
      dnnl_engine engine) {
    check(
        dnnl.dnnl_memory_desc_create_with_strides(
            piece, 1, new long[] {PIECE}, type, new long[] {1}));
    int status =
        dnnl.dnnl_eltwise_forward_primitive_desc_create(
            forward,
            engine,
            dnnl.dnnl_forward_training,
            dnnl.dnnl_eltwise_gelu_tanh,
            piece,
            piece,
            0,
            0,
            null);
    if (status == dnnl.dnnl_success) {
      status =
          dnnl.dnnl_eltwise_backward_primitive_desc_create(
              backward,
              engine,
              dnnl.dnnl_eltwise_gelu_tanh,
              piece,
              piece,
              piece,
              0,
              0,
              forward,
              null);
    }
    if (status != dnnl.dnnl_unimplemented) {
      check(status);
    }
    return status == dnnl.dnnl_success;
  }

  /** Whether it is made for the processor; oneDNN also has plain loops. */
  private static boolean isFast(dnnl_primitive_desc plan) {
    return OneDnn.implementation(plan).startsWith("jit");
  }

  private static void check(int status) {
    OneDnn.check(status, "GELU");
  }

  /**
   * Writes GELU of the whole pieces of {@code count} numbers; in place too.
   *
   * @return how many numbers that were
   */
  long forward(long x, long y, long count) {
    long whole = count - count % PIECE;
    for (long done = 0; done < whole; done += PIECE) {
      place(input, inputAddress, x, done);
      place(result, resultAddress, y, done);
      library.execute(forward, 2, forwardArguments, "GELU");
    }
    return whole;
  }

  /**
   * Likewise its gradient: {@code dx = dy gelu'(x)}.
   *
   * @return how many numbers that were
   */
  long backward(long dy, long x, long dx, long count) {
    long whole = count - count % PIECE;
    for (long done = 0; done < whole; done += PIECE) {
      place(given, givenAddress, dy, done);
      place(input, inputAddress, x, done);
      place(result, resultAddress, dx, done);
      library.execute(backward, 3, backwardArguments, "GELU's gradient");
    }
    return whole;
  }

  private void place(dnnl_memory memory, FloatAddress place, long address, long element) {
    check(dnnl.dnnl_memory_set_data_handle(memory, place.moveTo(address + numberBytes * element)));
  }

  @Override
  public void close() {
    if (isClosed) {
      return;
    }
    isClosed = true;
    dnnl.dnnl_primitive_destroy(forward);
    dnnl.dnnl_primitive_destroy(backward);
    dnnl.dnnl_memory_destroy(input);
    dnnl.dnnl_memory_destroy(given);
    dnnl.dnnl_memory_destroy(result);
    forwardArguments.close();
    backwardArguments.close();
  }
}
