package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Tensor;
import java.nio.DoubleBuffer;

/** Numbers that ranks tell each other now and then. */
final class Numbers {
  private Numbers() {}

  /** One number of every rank, by rank. All ranks call it together. */
  static double[] ofAllRanks(Communicator ranks, double own) throws InterruptedException {
    try (Tensor mine = NativeMemory.numbers(1);
        Tensor all = NativeMemory.numbers(ranks.size())) {
      elements(mine).put(own);
      ranks.allGather(mine, all).await();
      double[] found = new double[ranks.size()];
      elements(all).get(found);
      return found;
    }
  }

  /** Of a tensor [n] FLOAT64. */
  static DoubleBuffer elements(Tensor numbers) {
    return numbers.byteBuffer(0, Math.toIntExact(numbers.byteSize())).asDoubleBuffer();
  }
}
