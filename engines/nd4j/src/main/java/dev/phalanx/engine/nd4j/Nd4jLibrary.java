package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.CpuFeatures;
import dev.phalanx.engine.host.NativeLibraries;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Properties;
import org.nd4j.linalg.cpu.nativecpu.bindings.Nd4jCpu;

/**
 * ND4J's native library, loaded once in a process, from that of its two builds which this machine
 * can run.
 *
 * <p>By itself JavaCPP takes the build for AVX-512 wherever it is on the class path, and a machine
 * without these instructions ends the process at the first of them. Whoever uses ND4J in another
 * way, with both builds on the class path, calls {@link #usesAvx512} before anything of ND4J's.
 */
public final class Nd4jLibrary {
  /** Of the class path, with JavaCPP's name of the platform. */
  private static final String FOLDER = "/org/nd4j/linalg/cpu/nativecpu/bindings/%s";

  private static final String MAVEN_PROPERTIES =
      "/META-INF/maven/org.nd4j/nd4j-native/pom.properties";

  private static final List<Class<?>> PRESETS =
      List.of(
          org.bytedeco.openblas.global.openblas_nolapack.class,
          org.bytedeco.openblas.global.openblas.class,
          Nd4jCpu.class);

  private static final boolean USES_AVX512 = locate();

  private Nd4jLibrary() {}

  /**
   * Whether the build for AVX-512 is the one that runs; once this has returned, JavaCPP loads the
   * right one.
   */
  public static boolean usesAvx512() {
    return USES_AVX512;
  }

  /** The operations; they belong to the process. */
  static Nd4jCpu load() {
    Nd4jCpu operations = new Nd4jCpu();
    if (operations.ompGetMaxThreads() != 1) {
      // Kernels are divided among threads by TeamEngine, not inside of the library, whose pool is
      // one for the process.
      operations.setOmpNumThreads(1);
    }
    return operations;
  }

  /** ND4J's version: what Maven wrote into its jar. */
  static String version() {
    Properties properties = new Properties();
    try (InputStream file = Nd4jCpu.class.getResourceAsStream(MAVEN_PROPERTIES)) {
      if (file != null) {
        properties.load(file);
      }
    } catch (IOException e) {
      // It is for messages only.
    }
    return properties.getProperty("version", "(version unknown)");
  }

  private static boolean locate() {
    boolean hasAvx512 = CpuFeatures.ofThisMachine().hasAvx512() && isOnClassPath("-avx512/");
    String folder = FOLDER + (hasAvx512 ? "-avx512/" : "/");
    if (!NativeLibraries.locate(PRESETS, List.of(NativeLibraries.OPENBLAS_FOLDER, folder))) {
      throw new IllegalStateException(
          "The engine 'nd4j' cannot tell this JavaCPP which build of ND4J the machine can run; put"
              + " org.bytedeco:javacpp of the version that Phalanx was built with on the class"
              + " path");
    }
    return hasAvx512;
  }

  private static boolean isOnClassPath(String build) {
    return Nd4jCpu.class.getResource(FOLDER.formatted("linux-x86_64") + build + "libnd4jcpu.so")
        != null;
  }
}
