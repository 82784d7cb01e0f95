package dev.phalanx.sharding.compression;

/**
 * What compression has saved and cost.
 *
 * @param uncompressedBytes that all ranks together would have sent in ring all-reduces of their
 *     gradients: for n ranks, 2 (n - 1) times the bytes of the gradients in each step
 * @param sentBytes that all ranks together have sent, counted the same way: 2 (n - 1) m for an
 *     all-reduce of m bytes, (n - 1) m for an all-gather to, or an all-to-all of, m bytes. For
 *     small messages the communicator may choose algorithms that send more in fewer steps.
 * @param codecNanos of this rank for encoding and decoding, without waits
 * @param residualNorm the Euclidean norm of what error feedback keeps on this rank for the next
 *     step; 0 for codecs without it, whose errors are lost
 */
public record CompressionStatistics(
    long uncompressedBytes, long sentBytes, long codecNanos, double residualNorm) {

  /** How many times fewer bytes are sent; 1 where nothing is, because there is one rank. */
  public double ratio() {
    return sentBytes == 0 ? 1 : (double) uncompressedBytes / sentBytes;
  }

  /** Those of two reductions together: of two buckets, say. */
  public CompressionStatistics plus(CompressionStatistics other) {
    return new CompressionStatistics(
        uncompressedBytes + other.uncompressedBytes,
        sentBytes + other.sentBytes,
        codecNanos + other.codecNanos,
        Math.hypot(residualNorm, other.residualNorm));
  }
}
