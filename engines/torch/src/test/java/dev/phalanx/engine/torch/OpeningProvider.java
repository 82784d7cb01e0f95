package dev.phalanx.engine.torch;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import java.util.function.Function;

/** A provider of the torch engine in some form that only tests use. */
record OpeningProvider(Function<EngineOptions, Engine> opening) implements EngineProvider {
  @Override
  public String name() {
    return "torch";
  }

  @Override
  public int priority() {
    return 0;
  }

  @Override
  public Engine open(EngineOptions options) {
    return opening.apply(options);
  }
}
