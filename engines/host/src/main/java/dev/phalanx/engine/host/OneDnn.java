package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import java.util.List;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.dnnl_version_t;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerPointer;
import org.jspecify.annotations.Nullable;

/** oneDNN for one engine of ours, which computes in the thread that calls; one at a time does. */
final class OneDnn implements AutoCloseable {
  /** Loads the library when it is first asked for the outcome: not where there is no use of it. */
  private static final class Loading {
    private static final List<String> FOLDERS =
        List.of("/org/bytedeco/dnnl/%s/", "/org/bytedeco/opencl/%s/");

    static final @Nullable Throwable FAILURE = load();

    private static @Nullable Throwable load() {
      try {
        if (NativeLibraries.hasNoExtension()) {
          NativeLibraries.locate(List.of(dnnl.class), FOLDERS);
        }
        NativeLibraries.oneAtATime(() -> dnnl.dnnl_version());
        return null;
      } catch (LinkageError e) {
        return e;
      }
    }
  }

  private final Runnable useOneThread;
  private final dnnl_engine engine = new dnnl_engine();
  private final dnnl_stream stream = new dnnl_stream();
  private @Nullable Thread preparedThread;
  private boolean isClosed;

  /**
   * @param useOneThread tells OpenMP, which oneDNN asks for threads, that the thread which runs
   *     this works alone
   */
  OneDnn(Runnable useOneThread) {
    this.useOneThread = useOneThread;
    check(dnnl.dnnl_engine_create(engine, dnnl.dnnl_cpu, 0), "an engine");
    try {
      check(dnnl.dnnl_stream_create(stream, engine, dnnl.dnnl_stream_default_flags), "a stream");
    } catch (IllegalStateException e) {
      dnnl.dnnl_engine_destroy(engine);
      throw e;
    }
  }

  /** Whether the library is on the class path and runs on this machine. */
  static boolean isLoaded() {
    return Loading.FAILURE == null;
  }

  /** Whether it is there and gains anything: with narrower vectors than AVX-512's it does not. */
  static boolean isWorthUsing() {
    return CpuFeatures.ofThisMachine().hasAvx512() && isLoaded();
  }

  /** What it could not be loaded for, where there is anything to gain from it; else nothing. */
  static String whyNot() {
    if (!CpuFeatures.ofThisMachine().hasAvx512()) {
      return "";
    }
    Throwable why = Loading.FAILURE;
    return why == null ? "" : " (oneDNN cannot be loaded: " + NativeLibraries.rootCause(why) + ")";
  }

  static String version() {
    dnnl_version_t version = dnnl.dnnl_version();
    return "oneDNN " + version.major() + "." + version.minor() + "." + version.patch();
  }

  /**
   * The engine, in a thread that works alone: how many threads a kernel uses is settled when it is
   * made.
   */
  dnnl_engine engine() {
    prepareThread();
    return engine;
  }

  /**
   * @param what it is, for the error
   */
  void execute(dnnl_primitive primitive, int count, dnnl_exec_arg_t arguments, Object what) {
    prepareThread();
    check(dnnl.dnnl_primitive_execute(primitive, stream, count, arguments), what);
  }

  void requireOpen() {
    if (isClosed) {
      throw new IllegalStateException("An engine was used after it was closed");
    }
  }

  /** What comes next, in this thread, works alone. */
  private void prepareThread() {
    requireOpen();
    Thread current = Thread.currentThread();
    if (current != preparedThread) {
      useOneThread.run();
      preparedThread = current;
    }
  }

  /** oneDNN's name for a type, or {@code dnnl_data_type_undef}. */
  static int typeOf(DType type) {
    return switch (type) {
      case FLOAT32 -> dnnl.dnnl_f32;
      case BFLOAT16 -> dnnl.dnnl_bf16;
      default -> dnnl.dnnl_data_type_undef;
    };
  }

  /** What oneDNN calls the implementation that it has chosen. */
  static String implementation(dnnl_primitive_desc plan) {
    try (PointerPointer<BytePointer> answer = new PointerPointer<>(1)) {
      check(
          dnnl.dnnl_primitive_desc_query(plan, dnnl.dnnl_query_impl_info_str, 0, answer),
          "the name of an implementation");
      return answer.get(BytePointer.class).getString();
    }
  }

  static void check(int status, Object what) {
    if (status != dnnl.dnnl_success) {
      throw new IllegalStateException("oneDNN refused, with status " + status + ": " + what);
    }
  }

  @Override
  public void close() {
    if (isClosed) {
      return;
    }
    isClosed = true;
    dnnl.dnnl_stream_destroy(stream);
    dnnl.dnnl_engine_destroy(engine);
  }
}
