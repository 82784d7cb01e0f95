package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.NativeLibraries;
import java.util.List;

/** Where LibTorch's libraries are. */
final class TorchLibraries {
  private static final List<Class<?>> PRESETS =
      List.of(
          org.bytedeco.openblas.global.openblas_nolapack.class,
          org.bytedeco.openblas.global.openblas.class,
          org.bytedeco.pytorch.global.torch.class);

  private static final boolean ARE_LOCATED =
      NativeLibraries.hasNoExtension()
          && NativeLibraries.locate(
              PRESETS, List.of(NativeLibraries.OPENBLAS_FOLDER, "/org/bytedeco/pytorch/%s/"));

  private TorchLibraries() {}

  /**
   * Returns when JavaCPP knows, or searches for itself, as it does for another build than the one
   * that we know.
   *
   * @return whether it was told
   */
  static boolean locate() {
    return ARE_LOCATED;
  }
}
