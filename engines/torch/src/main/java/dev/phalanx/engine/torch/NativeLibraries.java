package dev.phalanx.engine.torch;

import java.lang.reflect.Field;
import java.net.URL;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.function.Supplier;
import org.bytedeco.javacpp.ClassProperties;
import org.bytedeco.javacpp.Loader;

/**
 * Tells JavaCPP where LibTorch's and OpenBLAS's libraries are.
 *
 * <p>By itself it looks for some forty libraries, most of them CUDA's, under several names and
 * folders in every jar of the class path: half a second of a process's start. Each is in one known
 * place, or not there.
 */
final class NativeLibraries {
  private static final List<Class<?>> PRESETS =
      List.of(
          org.bytedeco.openblas.global.openblas_nolapack.class,
          org.bytedeco.openblas.global.openblas.class,
          org.bytedeco.pytorch.global.torch.class);

  /** JavaCPP's memory is a plain map and one for the process: it is written once, by one thread. */
  private static final boolean ARE_LOCATED = tellJavaCpp();

  private NativeLibraries() {}

  /**
   * Returns when JavaCPP knows. Nothing is told where it is asked for another build, or is not the
   * one that we know; it searches for itself then.
   *
   * @return whether it was told
   */
  static boolean locate() {
    return ARE_LOCATED;
  }

  /**
   * Opens libraries and looks up their symbols while no other thread does so: glibc locks up at
   * times (seen with 2.36) where one thread opens a library while another one looks a symbol up.
   */
  static <T> T oneAtATime(Supplier<T> opening) {
    synchronized (NativeLibraries.class) {
      return opening.get();
    }
  }

  private static boolean tellJavaCpp() {
    Properties platform = Loader.loadProperties();
    if (!platform.getProperty("platform.extension", "").isEmpty()) {
      return false;
    }
    try {
      Field memory = Loader.class.getDeclaredField("foundLibraries");
      memory.setAccessible(true);
      @SuppressWarnings("unchecked")
      Map<String, URL[]> found = (Map<String, URL[]>) memory.get(null);
      for (Class<?> preset : PRESETS) {
        ClassProperties properties = Loader.loadProperties(preset, platform, true);
        for (String library : libraries(properties)) {
          if (!found.containsKey(library)) {
            found.put(library, places(library, properties));
          }
        }
      }
      return true;
    } catch (ReflectiveOperationException | RuntimeException e) {
      return false;
    }
  }

  private static Set<String> libraries(ClassProperties properties) {
    Set<String> names = new LinkedHashSet<>(properties.get("platform.preload"));
    names.addAll(properties.get("platform.link"));
    names.add(properties.getProperty("platform.library"));
    names.removeIf(NativeLibraries::hasSpecialForm);
    return names;
  }

  /** A name in a file or a link's name: left to JavaCPP. */
  private static boolean hasSpecialForm(String library) {
    return library.contains("#") || library.contains(":") || library.endsWith("!");
  }

  /** {@code name@version} is the resource {@code .../prefix name suffix version}. */
  private static URL[] places(String library, ClassProperties properties) {
    String[] nameAndVersion = library.split("@", 2);
    String file =
        properties.getProperty("platform.library.prefix", "")
            + nameAndVersion[0]
            + properties.getProperty("platform.library.suffix", "")
            + (nameAndVersion.length > 1 ? nameAndVersion[1] : "");
    List<URL> places = new ArrayList<>();
    for (String folder : List.of("openblas", "pytorch")) {
      URL place =
          Loader.class.getResource(
              "/org/bytedeco/" + folder + "/" + properties.getProperty("platform") + "/" + file);
      if (place != null) {
        places.add(place);
      }
    }
    return places.toArray(new URL[0]);
  }
}
