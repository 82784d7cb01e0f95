package dev.phalanx.sharding.compression;

import dev.phalanx.tensor.Tensor;
import java.util.Map;

/**
 * Sums without compression as long as the settings say so: early gradients change fast, and what a
 * codec leaves out of them would be applied when it is no longer true.
 */
final class FullPrecisionWarmUp implements CompressedReduction {
  private final Compression settings;
  private final CompressedReduction uncompressed;
  private final CompressedReduction compressed;
  private CompressedReduction current;

  FullPrecisionWarmUp(
      Compression settings, CompressedReduction uncompressed, CompressedReduction compressed) {
    this.settings = settings;
    this.uncompressed = uncompressed;
    this.compressed = compressed;
    this.current = uncompressed;
  }

  @Override
  public void start(Tensor gradients, long step) {
    current = settings.isCompressedAt(step) ? compressed : uncompressed;
    current.start(gradients, step);
  }

  @Override
  public void proceed() throws InterruptedException {
    current.proceed();
  }

  @Override
  public void finish() throws InterruptedException {
    current.finish();
  }

  @Override
  public Map<String, Tensor> state() {
    return compressed.state();
  }

  @Override
  public Map<String, Tensor> commonState() {
    return compressed.commonState();
  }

  @Override
  public CompressionStatistics statistics() {
    return uncompressed.statistics().plus(compressed.statistics());
  }
}
