package dev.phalanx.tensor;

import java.util.List;
import java.util.ServiceLoader;
import java.util.stream.Collectors;

/** Finds the engines on the class path. */
public final class Engines {
  private Engines() {}

  /** The factories on the class path, the most preferred first. */
  public static List<EngineProvider> available() {
    return ServiceLoader.load(EngineProvider.class).stream()
        .map(ServiceLoader.Provider::get)
        .sorted((a, b) -> Integer.compare(b.priority(), a.priority()))
        .toList();
  }

  /**
   * Opens the engine of that name, or for {@code "auto"} the most preferred one. Each call opens an
   * engine of its own: a rank never shares one with another rank.
   *
   * @throws EngineNotFoundException where there is none, with the names of those there are
   */
  public static Engine open(String name, EngineOptions options) {
    List<EngineProvider> providers = available();
    return providers.stream()
        .filter(provider -> name.equals("auto") || provider.name().equals(name))
        .findFirst()
        .orElseThrow(() -> notFound(name, providers))
        .open(options);
  }

  private static EngineNotFoundException notFound(String name, List<EngineProvider> providers) {
    String names = providers.stream().map(EngineProvider::name).collect(Collectors.joining(", "));
    return new EngineNotFoundException(
        "There is no engine '"
            + name
            + "' on the class path; "
            + (names.isEmpty() ? "there is none at all." : "write one of: auto, " + names + "."));
  }
}
