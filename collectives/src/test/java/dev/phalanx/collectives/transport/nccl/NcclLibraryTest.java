package dev.phalanx.collectives.transport.nccl;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.tensor.Device;
import java.io.File;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Why NCCL cannot be used, as users are told. */
final class NcclLibraryTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          Could not find jnicudart in class, module, and library paths. | profile gpu, which adds
          no jnijavacpp in java.library.path                            | profile gpu, which adds
          /x/libjnicudart.so: libcuda.so.1: cannot open shared object   | no NVIDIA driver
          /x/libjninccl.so: libnccl.so.2: cannot open shared object     | Install NCCL 2
          /x/libjnicudart.so: libcudart.so.13: cannot open shared object| Install CUDA's runtime 13
          something that nobody has seen before                         | and NCCL 2, build with
          """)
  void theReasonTellsWhatIsMissingAndWhatToDo(String loaderSays, String expected) {
    UnsatisfiedLinkError root = new UnsatisfiedLinkError(loaderSays);
    Error outer = new UnsatisfiedLinkError("no jninccl in java.library.path");
    outer.initCause(root);

    NcclLibrary library = failing(outer);

    assertThat(library.isUsable()).isFalse();
    assertThat(library.cause()).contains(outer);
    assertThat(library.reason().orElseThrow())
        .startsWith("NCCL cannot be used here: ")
        .contains(loaderSays)
        .contains(expected)
        .endsWith(", or write 'communication.transport: auto'.");
  }

  private static NcclLibrary failing(Error failure) {
    return NcclLibrary.probe(
        () -> {
          throw failure;
        });
  }

  @Test
  void withoutAGpuItIsNotUsable() {
    NcclLibrary library = NcclLibrary.probe(() -> new NcclLibrary.Found(22903, 0));

    assertThat(library.isUsable()).isFalse();
    assertThat(library.reason().orElseThrow()).contains("CUDA sees no GPU");
    assertThat(library.deviceCount()).isZero();
  }

  @Test
  void whatCudaReportsIsTheReason() {
    NcclLibrary library =
        NcclLibrary.probe(
            () -> {
              throw new NcclError("CUDA reports 'no CUDA-capable device is detected'");
            });

    assertThat(library.reason().orElseThrow())
        .contains("no CUDA-capable device is detected'. Check what nvidia-smi shows");
  }

  @Test
  void anOldNcclIsNotUsable() {
    NcclLibrary library = NcclLibrary.probe(() -> new NcclLibrary.Found(21304, 8));

    assertThat(library.reason().orElseThrow()).contains("NCCL 2.13.4 was found, and 2.14.0");
  }

  @Test
  void whereAllIsThereItIsUsable() {
    NcclLibrary library = NcclLibrary.probe(() -> new NcclLibrary.Found(22903, 8));

    assertThat(library.isUsable()).isTrue();
    assertThat(library.reason()).isEmpty();
    assertThat(library).hasToString("NCCL 2.29.3, GPUs: 8");
  }

  @Test
  void theProcessIsProbedOnceAndTheReasonStaysTheSame() {
    NcclLibrary first = NcclLibrary.probe();
    NcclLibrary second = NcclLibrary.probe();

    assertThat(second).isSameAs(first);
    assumeFalse(first.isUsable(), "NCCL can be used here");
    Throwable root = first.cause().orElseThrow();
    while (root.getCause() != null) {
      root = root.getCause();
    }
    assertThat(first.reason().orElseThrow()).contains(String.valueOf(root.getMessage()));
  }

  @Test
  void openingTellsTheReasonEachTime() {
    NcclLibrary library = NcclLibrary.probe();
    assumeFalse(library.isUsable(), "NCCL can be used here");
    String message = "rank 1/2 join in group tensor[0]: " + library.reason().orElseThrow();

    for (int attempt = 0; attempt < 2; attempt++) {
      assertThatThrownBy(NcclLibraryTest::open)
          .isInstanceOf(CollectiveException.class)
          .hasMessage(message)
          .hasCause(library.cause().orElseThrow());
    }
  }

  private static void open() throws InterruptedException {
    NcclCommunicator.open(
            "tensor[0]",
            1,
            2,
            new Device(Device.Kind.CUDA, 0),
            Duration.ofSeconds(1),
            id -> {
              throw new AssertionError("nothing is to be shared");
            })
        .close();
  }

  /** What users without a GPU have: the binding is optional. */
  @Test
  void withoutTheBindingOnTheClassPathTheReasonNamesIt() throws Exception {
    List<URL> path = new ArrayList<>();
    for (String entry :
        System.getProperty("java.class.path").split(Pattern.quote(File.pathSeparator), -1)) {
      String file = new File(entry).getName();
      if (!file.startsWith("cuda-") && !file.startsWith("javacpp-")) {
        path.add(new File(entry).toURI().toURL());
      }
    }
    try (URLClassLoader loader =
        new URLClassLoader(path.toArray(URL[]::new), ClassLoader.getPlatformClassLoader())) {
      Class<?> library = loader.loadClass(NcclLibrary.class.getName());
      Method reason = library.getMethod("reason");

      Object first = reason.invoke(library.getMethod("probe").invoke(null));
      Object second = reason.invoke(library.getMethod("probe").invoke(null));

      assertThat((Optional<?>) first)
          .get()
          .asString()
          .contains("org.bytedeco:cuda is not on the class path")
          .contains("org.bytedeco.")
          .doesNotContain("Could not initialize");
      assertThat(second).isEqualTo(first);
      assertThat(Class.forName(NcclCommunicator.class.getName(), true, loader).getMethods())
          .isNotEmpty();
    }
  }
}
