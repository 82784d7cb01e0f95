package dev.phalanx.trainer.data;

import dev.phalanx.tensor.CounterRandom;

/**
 * A shuffle of 0 … size - 1 without a table: a balanced Feistel network (Luby and Rackoff, 1988) on
 * the smallest even number of bits that holds the size, walked along its cycle until it comes back
 * below the size (Black and Rogaway, 2002). The network is a bijection of at most 4 × size numbers,
 * so the walk takes less than four steps on average and the whole is a bijection of the size.
 *
 * <pre>
 *   left ──────╳────── right'        left' = right
 *   right ──F(key, round)──⊕ left    right' = left ⊕ F(right)
 * </pre>
 */
record Permutation(long size, long key) {
  private static final int ROUNDS = 8;

  Permutation {
    if (size < 1 || size > 1L << 62) {
      throw new IllegalArgumentException("a permutation of " + size + ", expected 1 to 2^62");
    }
  }

  /** Where {@code index} goes. */
  long at(long index) {
    if (index < 0 || index >= size) {
      throw new IndexOutOfBoundsException("index " + index + ", expected 0 to " + (size - 1));
    }
    int halfBits = Math.max(1, (Long.SIZE - Long.numberOfLeadingZeros(size - 1) + 1) / 2);
    long value = index;
    do {
      value = encrypt(value, halfBits);
    } while (value >= size);
    return value;
  }

  private long encrypt(long value, int halfBits) {
    long left = value >>> halfBits;
    long right = value & ((1L << halfBits) - 1);
    for (int round = 0; round < ROUNDS; round++) {
      long roundKey = CounterRandom.at(key, round);
      long mixed = left ^ (CounterRandom.at(roundKey, right) >>> (Long.SIZE - halfBits));
      left = right;
      right = mixed;
    }
    return left << halfBits | right;
  }
}
