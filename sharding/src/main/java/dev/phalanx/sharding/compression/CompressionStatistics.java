package dev.phalanx.sharding.compression;

/**
 * What compression has saved and cost one rank, of those whose gradients are summed together.
 *
 * @param uncompressedBytes that it would have sent in ring all-reduces of its gradients: of n
 *     ranks, 2 (n - 1) / n times the bytes of the gradients in each step
 * @param sentBytes that it has sent, the mean of these ranks, counted the same way: 2 (n - 1) / n m
 *     for an all-reduce of m bytes, (n - 1) / n m for an all-gather to, or an all-to-all of, m
 *     bytes. For small messages the communicator may choose algorithms that send more in fewer
 *     steps.
 * @param codecNanos of this rank for encoding and decoding, without waits
 * @param errorNorm the Euclidean norm of what the last step's messages of this rank left out of, or
 *     rounded away from, what it had to send. With error feedback that is what the residuals keep
 *     for the next step, else it is lost. 0 in a warm-up in full precision
 */
public record CompressionStatistics(
    long uncompressedBytes, long sentBytes, long codecNanos, double errorNorm) {

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
        Math.hypot(errorNorm, other.errorNorm));
  }
}
