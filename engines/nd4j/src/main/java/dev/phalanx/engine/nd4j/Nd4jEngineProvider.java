package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.NativeLibraries;
import dev.phalanx.engine.host.TeamEngine;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;

/** Opens engines on ND4J. */
public final class Nd4jEngineProvider implements EngineProvider {
  @Override
  public String name() {
    return Nd4jEngine.NAME;
  }

  /** Below the torch engine's, which is faster and knows more types. */
  @Override
  public int priority() {
    return 50;
  }

  @Override
  public Engine open(EngineOptions options) {
    try {
      return NativeLibraries.oneAtATime(
          () ->
              options.threads() == 1
                  ? new Nd4jEngine(options)
                  : new TeamEngine(options, Nd4jEngine::new));
    } catch (LinkageError e) {
      throw new IllegalStateException(
          "The engine 'nd4j' cannot load ND4J on "
              + System.getProperty("os.name")
              + " "
              + System.getProperty("os.arch")
              + ": "
              + NativeLibraries.rootCause(e)
              + ". Put org.nd4j:nd4j-native, and org.bytedeco:openblas and javacpp, with the"
              + " classifier of this platform on the class path.",
          e);
    }
  }
}
