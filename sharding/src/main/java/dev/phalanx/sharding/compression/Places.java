package dev.phalanx.sharding.compression;

/** Places of elements in a bucket as messages hold them: four bytes each. */
final class Places {
  private Places() {}

  static void requireFewEnough(long elementCount) {
    if (elementCount > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "Codecs that send places of elements know "
              + Integer.MAX_VALUE
              + " of them in a bucket, and this one has "
              + elementCount
              + ". Take another codec, or a smaller communication.bucket_mb if no single parameter"
              + " is that large.");
    }
  }
}
