package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.CollectiveException;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Whether NCCL can be used in this process: JavaCPP's binding is on the class path, its native part
 * and the libraries that it needs can be loaded, and there is a GPU.
 *
 * <p>The first question loads the libraries; the answer is kept for the life of the process. A
 * class whose native library was not found once can never be loaded again, and later attempts tell
 * nothing but its name: so the reason is kept from the first one.
 *
 * <p>Threads: any; those that come during the first probe wait for it.
 */
public final class NcclLibrary {
  /** The first version that does not block, so that deadlines can be kept. */
  private static final int OLDEST_VERSION = 21400;

  /** Of what was found without loading anything of this house's own. */
  interface Loading {
    /** Loads the libraries and gives what they say; throws whatever comes where it cannot. */
    Found load();
  }

  /**
   * @param version of NCCL: 22903 is 2.29.3
   * @param devices how many GPUs CUDA sees
   */
  record Found(int version, int devices) {}

  private static final class OfThisProcess {
    /** No method reference: it would need the binding as soon as it is made, outside the probe. */
    private static final NcclLibrary PROBED = probe(() -> JavaCppNccl.load());
  }

  private final @Nullable Found found;
  private final @Nullable String reason;
  private final @Nullable Throwable cause;

  private NcclLibrary(@Nullable Found found, @Nullable String reason, @Nullable Throwable cause) {
    this.found = found;
    this.reason = reason;
    this.cause = cause;
  }

  /** What the first call in this process found out. Throws nothing. */
  public static NcclLibrary probe() {
    return OfThisProcess.PROBED;
  }

  static NcclLibrary probe(Loading loading) {
    Found found;
    try {
      found = loading.load();
    } catch (Throwable e) { // LinkageErrors as a rule; none of them may end a process that has TCP
      return unusable(reason(rootCause(e)), e);
    }
    if (found.devices() < 1) {
      return unusable("CUDA sees no GPU. Check what nvidia-smi shows", null);
    }
    if (found.version() < OLDEST_VERSION) {
      return unusable(
          "NCCL "
              + text(found.version())
              + " was found, and "
              + text(OLDEST_VERSION)
              + " is needed. Install a newer libnccl.so.2",
          null);
    }
    return new NcclLibrary(found, null, null);
  }

  private static NcclLibrary unusable(String what, @Nullable Throwable cause) {
    return new NcclLibrary(
        null,
        "NCCL cannot be used here: " + what + ", or write 'communication.transport: auto'.",
        cause);
  }

  private static Throwable rootCause(Throwable failure) {
    Throwable cause = failure;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause;
  }

  /** What is missing and what to do, with the loader's own words at the end. */
  private static String reason(Throwable root) {
    String words = String.valueOf(root.getMessage());
    String said = " (" + root.getClass().getSimpleName() + ": " + words.strip() + "). ";
    if (root instanceof NcclError) {
      return words + ". Check what nvidia-smi shows, install a driver that fits CUDA 13";
    }
    if (root instanceof ClassNotFoundException || root instanceof NoClassDefFoundError) {
      return "the library org.bytedeco:cuda is not on the class path"
          + said
          + "Build with the Maven profile gpu, which adds it";
    }
    if (words.startsWith("no jni") || words.startsWith("Could not find jni")) {
      return "the native part of org.bytedeco:cuda or javacpp for this platform is not on the class"
          + " path"
          + said
          + "Build with the Maven profile gpu, which adds it";
    }
    if (words.contains("libcuda.so")) {
      return "there is no NVIDIA driver, and so no GPU"
          + said
          + "Install the driver, CUDA's runtime 13 and NCCL 2 on a host with a GPU";
    }
    if (words.contains("libnccl")) {
      return "libnccl.so.2 cannot be loaded" + said + "Install NCCL 2 (the package libnccl2)";
    }
    if (words.contains("libcudart")) {
      return "libcudart.so.13 cannot be loaded" + said + "Install CUDA's runtime 13";
    }
    return "its libraries cannot be loaded"
        + said
        + "Install the NVIDIA driver, CUDA's runtime 13 and NCCL 2, build with the Maven profile"
        + " gpu";
  }

  private static String text(int version) {
    return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
  }

  public boolean isUsable() {
    return found != null;
  }

  /** Why it is not usable and what to do, in sentences; empty where it is. */
  public Optional<String> reason() {
    return Optional.ofNullable(reason);
  }

  /** What loading the libraries threw, where that is the reason. */
  public Optional<Throwable> cause() {
    return Optional.ofNullable(cause);
  }

  /** How many GPUs CUDA sees; 0 where NCCL is not usable. */
  public int deviceCount() {
    return found == null ? 0 : found.devices();
  }

  /**
   * Returns where NCCL is usable.
   *
   * @param where what the message begins with: {@code rank 0/2 join in group world}
   * @throws CollectiveException with {@link #reason} where it is not
   */
  void require(String where) {
    if (reason == null) {
      return;
    }
    CollectiveException failure = new CollectiveException(where + ": " + reason);
    if (cause != null) {
      failure.initCause(cause);
    }
    throw failure;
  }

  @Override
  public String toString() {
    return found == null
        ? String.valueOf(reason)
        : "NCCL " + text(found.version()) + ", GPUs: " + found.devices();
  }
}
