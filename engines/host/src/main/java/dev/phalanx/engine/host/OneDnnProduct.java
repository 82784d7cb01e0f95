package dev.phalanx.engine.host;

import java.util.Optional;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_post_ops;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.global.dnnl;

/** One product of oneDNN's, made for its form; what it multiplies is given to each run of it. */
final class OneDnnProduct implements AutoCloseable {
  /**
   * What oneDNN calls the implementations that are known to keep to their stack. Behind them it has
   * one on the kernel that {@link OneDnnGemm} warns of.
   */
  private static final String TRUSTED = "brg";

  private final dnnl_primitive primitive = new dnnl_primitive();
  private final dnnl_memory left = new dnnl_memory();
  private final dnnl_memory right = new dnnl_memory();
  private final dnnl_memory addend = new dnnl_memory();
  private final dnnl_memory result = new dnnl_memory();
  private final dnnl_memory scratch = new dnnl_memory();
  private final dnnl_exec_arg_t arguments = new dnnl_exec_arg_t(5);
  private final ProductForm form;
  private final long scratchBytes;

  /** A product of this form, of FLOAT32 or BFLOAT16; nothing where none is to be trusted. */
  static Optional<OneDnnProduct> of(dnnl_engine engine, ProductForm form) {
    dnnl_memory_desc left = new dnnl_memory_desc();
    dnnl_memory_desc right = new dnnl_memory_desc();
    dnnl_memory_desc addend = new dnnl_memory_desc();
    dnnl_memory_desc result = new dnnl_memory_desc();
    dnnl_primitive_attr attributes = new dnnl_primitive_attr();
    dnnl_primitive_desc plan = new dnnl_primitive_desc();
    try {
      ProductForm.Result to = form.result();
      describe(left, form.left(), form.m(), form.k());
      describe(right, form.right(), form.k(), form.n());
      if (to.hasBias()) {
        describe(addend, new ProductForm.Factor(form.factors(), false, form.n()), 1, form.n());
      }
      describe(result, new ProductForm.Factor(to.type(), false, to.stride()), form.m(), form.n());
      describe(attributes, form);
      int status =
          dnnl.dnnl_matmul_primitive_desc_create(
              plan, engine, left, right, to.hasBias() ? addend : null, result, attributes);
      if (status == dnnl.dnnl_unimplemented) {
        return Optional.empty();
      }
      OneDnn.check(status, form);
      return OneDnn.implementation(plan).startsWith(TRUSTED)
          ? Optional.of(new OneDnnProduct(engine, form, plan, left, right, addend, result))
          : Optional.empty();
    } finally {
      dnnl.dnnl_primitive_desc_destroy(plan);
      dnnl.dnnl_primitive_attr_destroy(attributes);
      dnnl.dnnl_memory_desc_destroy(left);
      dnnl.dnnl_memory_desc_destroy(right);
      dnnl.dnnl_memory_desc_destroy(addend);
      dnnl.dnnl_memory_desc_destroy(result);
    }
  }

  private OneDnnProduct(
      dnnl_engine engine,
      ProductForm form,
      dnnl_primitive_desc plan,
      dnnl_memory_desc leftForm,
      dnnl_memory_desc rightForm,
      dnnl_memory_desc addendForm,
      dnnl_memory_desc resultForm) {
    this.form = form;
    dnnl_memory_desc scratchForm =
        dnnl.dnnl_primitive_desc_query_md(plan, dnnl.dnnl_query_scratchpad_md, 0);
    this.scratchBytes = dnnl.dnnl_memory_desc_get_size(scratchForm);
    try {
      check(dnnl.dnnl_primitive_create(primitive, plan));
      argument(0, dnnl.DNNL_ARG_SRC, left, leftForm, engine);
      argument(1, dnnl.DNNL_ARG_WEIGHTS, right, rightForm, engine);
      argument(2, dnnl.DNNL_ARG_DST, result, resultForm, engine);
      argument(3, dnnl.DNNL_ARG_SCRATCHPAD, scratch, scratchForm, engine);
      if (form.result().hasBias()) {
        argument(4, dnnl.DNNL_ARG_BIAS, addend, addendForm, engine);
      }
    } catch (IllegalStateException e) {
      close();
      throw e;
    }
  }

  private static void describe(
      dnnl_memory_desc matrix, ProductForm.Factor lying, long rows, long columns) {
    long stride = lying.stride();
    long[] strides = lying.isTransposed() ? new long[] {1, stride} : new long[] {stride, 1};
    OneDnn.check(
        dnnl.dnnl_memory_desc_create_with_strides(
            matrix, 2, new long[] {rows, columns}, OneDnn.typeOf(lying.type()), strides),
        "a matrix [%d, %d] that lies as %s".formatted(rows, columns, lying));
  }

  /** The product is scaled, then what is there is added. */
  private static void describe(dnnl_primitive_attr attributes, ProductForm form) {
    OneDnn.check(dnnl.dnnl_primitive_attr_create(attributes), form);
    // Memory of our own: oneDNN's is one for all products that a thread has made, whichever runs
    // them.
    OneDnn.check(
        dnnl.dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl.dnnl_scratchpad_mode_user),
        form);
    dnnl_post_ops after = new dnnl_post_ops();
    OneDnn.check(dnnl.dnnl_post_ops_create(after), form);
    try {
      float scale = form.result().scale();
      if (scale != 1) {
        OneDnn.check(
            dnnl.dnnl_post_ops_append_eltwise(after, dnnl.dnnl_eltwise_linear, scale, 0), form);
      }
      if (form.result().isAdded()) {
        OneDnn.check(dnnl.dnnl_post_ops_append_sum(after, 1, 0, dnnl.dnnl_data_type_undef), form);
      }
      OneDnn.check(dnnl.dnnl_primitive_attr_set_post_ops(attributes, after), form);
    } finally {
      dnnl.dnnl_post_ops_destroy(after);
    }
  }

  private void argument(
      int place, int kind, dnnl_memory memory, dnnl_memory_desc memoryForm, dnnl_engine engine) {
    check(dnnl.dnnl_memory_create(memory, memoryForm, engine, null));
    arguments.getPointer(place).arg(kind).memory(memory);
  }

  private void check(int status) {
    OneDnn.check(status, form);
  }

  /** Bytes that {@link #run} wants for itself. */
  long scratchBytes() {
    return scratchBytes;
  }

  /**
   * Multiplies.
   *
   * @param bias not read where the form has none
   */
  void run(
      OneDnn library,
      FloatAddress a,
      FloatAddress b,
      FloatAddress bias,
      FloatAddress c,
      FloatAddress ownMemory) {
    check(dnnl.dnnl_memory_set_data_handle(left, a));
    check(dnnl.dnnl_memory_set_data_handle(right, b));
    check(dnnl.dnnl_memory_set_data_handle(result, c));
    check(dnnl.dnnl_memory_set_data_handle(scratch, ownMemory));
    if (form.result().hasBias()) {
      check(dnnl.dnnl_memory_set_data_handle(addend, bias));
    }
    library.execute(primitive, form.result().hasBias() ? 5 : 4, arguments, form);
  }

  @Override
  public void close() {
    dnnl.dnnl_primitive_destroy(primitive);
    dnnl.dnnl_memory_destroy(left);
    dnnl.dnnl_memory_destroy(right);
    dnnl.dnnl_memory_destroy(addend);
    dnnl.dnnl_memory_destroy(result);
    dnnl.dnnl_memory_destroy(scratch);
    arguments.close();
  }
}
