package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.CpuFeatures;
import dev.phalanx.engine.host.NativeLibraries;
import dev.phalanx.engine.host.TeamEngine;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;

/** Opens engines on LibTorch. */
public final class TorchEngineProvider implements EngineProvider {
  @Override
  public String name() {
    return "torch";
  }

  @Override
  public int priority() {
    return 100;
  }

  @Override
  public Engine open(EngineOptions options) {
    try {
      TorchLibraries.locate();
      boolean multipliesBfloat16 = CpuFeatures.ofThisMachine().multipliesBfloat16();
      return NativeLibraries.oneAtATime(
          () ->
              options.threads() == 1
                  ? new TorchEngine(options, multipliesBfloat16)
                  : new TeamEngine(options, member -> new TorchEngine(member, multipliesBfloat16)));
    } catch (LinkageError e) {
      throw new IllegalStateException(
          "The engine 'torch' cannot load LibTorch on "
              + System.getProperty("os.name")
              + " "
              + System.getProperty("os.arch")
              + ": "
              + NativeLibraries.rootCause(e)
              + ". Put org.bytedeco:pytorch, openblas and javacpp with the classifier of this"
              + " platform on the class path; their Linux builds need glibc 2.35 or newer.",
          e);
    }
  }
}
