package dev.phalanx.deeplearning4j;

/**
 * What a plan's steps mean in its data: a place in the order of samples is one only in the same.
 * Checkpoints of a plan's network hold it as text.
 */
record PlannedOrder(int samples, int batch, long seed) {
  static final String FILE = "order.txt";
}
