package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;

/**
 * Pairwise exchange (Thakur, Rabenseifner and Gropp, 2005): in step k every rank sends to the one k
 * after it and receives from the one k before, so that all links are busy at each step.
 *
 * <p>Cost: (n - 1) α + (n - 1) / n m β; a rank sends all but its own part.
 */
public final class PairwiseAllToAll {
  private PairwiseAllToAll() {}

  /**
   * @param inputParts for each rank
   * @param outputParts from each rank
   */
  public static void run(
      Exchange exchange, Tensor input, Parts inputParts, Tensor output, Parts outputParts)
      throws InterruptedException {
    int rank = exchange.rank();
    Copies.copy(inputParts.chunk(exchange, input, rank), outputParts.chunk(exchange, output, rank));
    for (int distance = 1; distance < exchange.size(); distance++) {
      int next = exchange.neighbour(distance);
      int previous = exchange.neighbour(-distance);
      Chunk leaving = inputParts.chunk(exchange, input, next);
      Chunk coming = outputParts.chunk(exchange, output, previous);
      Ahead.run(
          exchange,
          Math.max(leaving.pieces(), coming.pieces()),
          piece -> exchange.send(next, leaving, piece),
          piece -> exchange.receive(previous, coming, piece));
    }
    exchange.flush();
  }
}
