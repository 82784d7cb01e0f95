package dev.phalanx.engine.host;

import java.io.IOException;
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
 * Tells JavaCPP where native libraries are.
 *
 * <p>By itself it looks for some forty libraries, most of them CUDA's, under several names and
 * folders in every jar of the class path: half a second of a process's start. Each is in one known
 * place, or not there.
 */
public final class NativeLibraries {
  /** A folder of OpenBLAS's jar; see {@link #locate}. */
  public static final String OPENBLAS_FOLDER = "/org/bytedeco/openblas/%s/";

  private static final List<Class<?>> OPENBLAS_PRESETS =
      List.of(
          org.bytedeco.openblas.global.openblas_nolapack.class,
          org.bytedeco.openblas.global.openblas.class);

  private static final boolean IS_OPENBLAS_LOCATED =
      hasNoExtension() && locate(OPENBLAS_PRESETS, List.of(OPENBLAS_FOLDER));

  private NativeLibraries() {}

  /**
   * Returns when JavaCPP knows where OpenBLAS is, or searches for itself: where it is asked for
   * another build, or is not the one that we know.
   *
   * @return whether it was told
   */
  public static boolean locateOpenBlas() {
    return IS_OPENBLAS_LOCATED;
  }

  /** Whether JavaCPP is asked for libraries of no special build. */
  public static boolean hasNoExtension() {
    return Loader.loadProperties().getProperty("platform.extension", "").isEmpty();
  }

  /**
   * Opens libraries and looks up their symbols while no other thread does so: glibc locks up at
   * times (seen with 2.36) where one thread opens a library while another one looks a symbol up.
   */
  public static <T> T oneAtATime(Supplier<T> opening) {
    synchronized (NativeLibraries.class) {
      return opening.get();
    }
  }

  /** What a library could not be loaded for. */
  public static Throwable rootCause(Throwable failure) {
    Throwable cause = failure;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause;
  }

  /**
   * Tells JavaCPP where the libraries of some classes are, but for those that it knows.
   *
   * @param presets JavaCPP's classes
   * @param folders where in the class path their libraries may be; {@code %s} stands for the
   *     platform
   * @return whether it was told; it searches for itself where it is not the JavaCPP that we know
   */
  public static boolean locate(List<Class<?>> presets, List<String> folders) {
    return oneAtATime(() -> tellJavaCpp(presets, folders)); // its memory is a plain map
  }

  private static boolean tellJavaCpp(List<Class<?>> presets, List<String> folders) {
    try {
      Properties platform = Loader.loadProperties();
      Field memory = Loader.class.getDeclaredField("foundLibraries");
      memory.setAccessible(true);
      @SuppressWarnings("unchecked")
      Map<String, URL[]> found = (Map<String, URL[]>) memory.get(null);
      for (Class<?> preset : presets) {
        ClassProperties properties = Loader.loadProperties(preset, platform, true);
        for (String library : libraries(properties)) {
          if (!found.containsKey(library)) {
            URL[] places = places(library, properties, folders);
            unpack(places);
            found.put(library, places);
          }
        }
      }
      return true;
    } catch (ReflectiveOperationException | RuntimeException e) {
      return false;
    }
  }

  /**
   * Into JavaCPP's cache, whole, before any is opened: one library opens others beside it, and
   * those would be read while another process still writes them, or as one that was killed has left
   * them.
   */
  private static void unpack(URL[] places) {
    for (URL place : places) {
      try {
        Loader.cacheResource(place);
      } catch (IOException e) {
        // Whoever loads it says so.
      }
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
  private static URL[] places(String library, ClassProperties properties, List<String> folders) {
    String[] nameAndVersion = library.split("@", 2);
    String file =
        properties.getProperty("platform.library.prefix", "")
            + nameAndVersion[0]
            + properties.getProperty("platform.library.suffix", "")
            + (nameAndVersion.length > 1 ? nameAndVersion[1] : "");
    List<URL> places = new ArrayList<>();
    for (String folder : folders) {
      URL place =
          Loader.class.getResource(folder.formatted(properties.getProperty("platform")) + file);
      if (place != null) {
        places.add(place);
      }
    }
    return places.toArray(new URL[0]);
  }
}
