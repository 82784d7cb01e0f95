package dev.phalanx.engine.host;

import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_post_ops;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.global.dnnl;

/** One product of oneDNN's, made for its form; what it multiplies is given to each run of it. */
final class OneDnnProduct implements AutoCloseable {
  /** All that a kernel is made for: {@link Sgemm#multiply} without the addresses. */
  record Form(
      boolean transposeA,
      boolean transposeB,
      long m,
      long n,
      long k,
      float alpha,
      long rowsOfA,
      long rowsOfB,
      float beta,
      long rowsOfC) {
    long multiplications() {
      return m * n * k;
    }
  }

  private final dnnl_primitive primitive = new dnnl_primitive();
  private final dnnl_memory left = new dnnl_memory();
  private final dnnl_memory right = new dnnl_memory();
  private final dnnl_memory result = new dnnl_memory();
  private final dnnl_memory scratch = new dnnl_memory();
  private final dnnl_exec_arg_t arguments = new dnnl_exec_arg_t(4);
  private final long scratchBytes;

  OneDnnProduct(dnnl_engine engine, Form form) {
    dnnl_memory_desc leftForm = matrix(form.transposeA, form.m, form.k, form.rowsOfA);
    dnnl_memory_desc rightForm = matrix(form.transposeB, form.k, form.n, form.rowsOfB);
    dnnl_memory_desc resultForm = matrix(false, form.m, form.n, form.rowsOfC);
    dnnl_primitive_attr attributes = attributes(form);
    dnnl_primitive_desc plan = new dnnl_primitive_desc();
    check(
        dnnl.dnnl_matmul_primitive_desc_create(
            plan, engine, leftForm, rightForm, null, resultForm, attributes),
        form);
    check(dnnl.dnnl_primitive_create(primitive, plan), form);
    dnnl_memory_desc scratchForm =
        dnnl.dnnl_primitive_desc_query_md(plan, dnnl.dnnl_query_scratchpad_md, 0);
    this.scratchBytes = dnnl.dnnl_memory_desc_get_size(scratchForm);
    argument(0, dnnl.DNNL_ARG_SRC, left, leftForm, engine, form);
    argument(1, dnnl.DNNL_ARG_WEIGHTS, right, rightForm, engine, form);
    argument(2, dnnl.DNNL_ARG_DST, result, resultForm, engine, form);
    argument(3, dnnl.DNNL_ARG_SCRATCHPAD, scratch, scratchForm, engine, form);
    check(dnnl.dnnl_primitive_desc_destroy(plan), form);
    check(dnnl.dnnl_primitive_attr_destroy(attributes), form);
    check(dnnl.dnnl_memory_desc_destroy(leftForm), form);
    check(dnnl.dnnl_memory_desc_destroy(rightForm), form);
    check(dnnl.dnnl_memory_desc_destroy(resultForm), form);
  }

  private static dnnl_memory_desc matrix(
      boolean isTransposed, long rows, long columns, long distance) {
    dnnl_memory_desc form = new dnnl_memory_desc();
    long[] strides = isTransposed ? new long[] {1, distance} : new long[] {distance, 1};
    int status =
        dnnl.dnnl_memory_desc_create_with_strides(
            form, 2, new long[] {rows, columns}, dnnl.dnnl_f32, strides);
    if (status != dnnl.dnnl_success) {
      throw new IllegalStateException(
          "oneDNN refused a matrix [%d, %d] whose rows lie %d apart: status %d"
              .formatted(rows, columns, distance, status));
    }
    return form;
  }

  /** The product is scaled, then what is there is added. */
  private static dnnl_primitive_attr attributes(Form form) {
    dnnl_primitive_attr attributes = new dnnl_primitive_attr();
    check(dnnl.dnnl_primitive_attr_create(attributes), form);
    // Memory of our own: oneDNN's is one for all products that a thread has made, whichever runs
    // them.
    check(
        dnnl.dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl.dnnl_scratchpad_mode_user),
        form);
    dnnl_post_ops after = new dnnl_post_ops();
    check(dnnl.dnnl_post_ops_create(after), form);
    if (form.alpha != 1) {
      check(
          dnnl.dnnl_post_ops_append_eltwise(after, dnnl.dnnl_eltwise_linear, form.alpha, 0), form);
    }
    if (form.beta != 0) {
      check(dnnl.dnnl_post_ops_append_sum(after, form.beta, 0, dnnl.dnnl_data_type_undef), form);
    }
    check(dnnl.dnnl_primitive_attr_set_post_ops(attributes, after), form);
    check(dnnl.dnnl_post_ops_destroy(after), form);
    return attributes;
  }

  private void argument(
      int place,
      int kind,
      dnnl_memory memory,
      dnnl_memory_desc memoryForm,
      dnnl_engine engine,
      Form form) {
    check(dnnl.dnnl_memory_create(memory, memoryForm, engine, null), form);
    arguments.getPointer(place).arg(kind).memory(memory);
  }

  /** Bytes that {@link #run} wants for itself. */
  long scratchBytes() {
    return scratchBytes;
  }

  void run(
      dnnl_stream stream,
      FloatAddress a,
      FloatAddress b,
      FloatAddress c,
      FloatAddress ownMemory,
      Form form) {
    check(dnnl.dnnl_memory_set_data_handle(left, a), form);
    check(dnnl.dnnl_memory_set_data_handle(right, b), form);
    check(dnnl.dnnl_memory_set_data_handle(result, c), form);
    check(dnnl.dnnl_memory_set_data_handle(scratch, ownMemory), form);
    check(dnnl.dnnl_primitive_execute(primitive, stream, 4, arguments), form);
  }

  private static void check(int status, Form form) {
    if (status != dnnl.dnnl_success) {
      throw new IllegalStateException("oneDNN refused a product, status " + status + ": " + form);
    }
  }

  @Override
  public void close() {
    dnnl.dnnl_primitive_destroy(primitive);
    dnnl.dnnl_memory_destroy(left);
    dnnl.dnnl_memory_destroy(right);
    dnnl.dnnl_memory_destroy(result);
    dnnl.dnnl_memory_destroy(scratch);
    arguments.close();
  }
}
