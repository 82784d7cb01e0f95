package dev.phalanx.trainer.generate;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.trainer.NotFiniteException;
import dev.phalanx.trainer.model.KeyValueCache;
import dev.phalanx.trainer.model.TokenBatch;
import dev.phalanx.trainer.model.Transformer;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.IntConsumer;

/**
 * Continues a sequence of tokens, one token at a time. Keys and values of earlier tokens are kept;
 * where the model's longest sequence is reached, the model reads the later half of it anew and goes
 * on.
 *
 * <p>One thread.
 */
public final class Generator {
  private final Arena arena;
  private final Tensor hostLogits; // [vocabulary] FLOAT32
  private final Transformer model;
  private final KeyValueCache cache;
  private final int longest;

  /**
   * @param arena on the model's device; owns the cache and what a pass needs
   * @param host an arena on the CPU; owns the logits that are read
   * @param model with its values in memory
   * @param dtype of the model's values
   * @param most tokens that are read or written in one text, as far as is known: no more memory is
   *     taken than they need
   */
  public Generator(Arena arena, Arena host, Transformer model, DType dtype, long most) {
    this.arena = arena;
    this.hostLogits = host.allocate(DType.FLOAT32, model.config().vocabulary());
    this.model = model;
    this.longest = Math.toIntExact(Math.min(model.config().sequence(), most));
    this.cache = new KeyValueCache(arena, model.config(), dtype, longest);
  }

  /**
   * Chooses new tokens.
   *
   * @param prompt at least one token
   * @param maximum how many tokens to choose at most
   * @param end the token after which nothing is chosen any more
   * @param listener hears each new token
   * @return the new tokens
   */
  public List<Integer> generate(
      int[] prompt, int maximum, Sampling sampling, OptionalInt end, IntConsumer listener) {
    List<Integer> chosen = new ArrayList<>();
    int[] all = prompt.clone();
    int length = prompt.length;
    float[] logits = maximum > 0 ? read(window(all, length)) : new float[0];
    while (chosen.size() < maximum) {
      int token = sampling.choose(logits, chosen.size());
      chosen.add(token);
      listener.accept(token);
      if (length == all.length) {
        all = Arrays.copyOf(all, 2 * length);
      }
      all[length++] = token;
      if ((end.isPresent() && token == end.getAsInt()) || chosen.size() == maximum) {
        break;
      }
      logits = cache.length() < longest ? pass(token) : read(window(all, length));
    }
    return chosen;
  }

  /**
   * The logits of what comes after these tokens, of which the last ones that fit the model are
   * read.
   */
  public float[] logits(int[] tokens) {
    return read(Arrays.copyOfRange(tokens, Math.max(0, tokens.length - longest), tokens.length));
  }

  /**
   * What the model reads anew: all tokens if they fit, else as many of the last as leave room to go
   * on.
   */
  private int[] window(int[] tokens, int length) {
    int count = length <= longest ? length : Math.max(1, longest / 2);
    return Arrays.copyOfRange(tokens, length - count, length);
  }

  private float[] read(int... tokens) {
    cache.clear();
    return pass(tokens);
  }

  private float[] pass(int... tokens) {
    if (tokens.length == 0) {
      throw new IllegalArgumentException("A model needs at least one token to go on from");
    }
    long[] ids = Arrays.stream(tokens).asLongStream().toArray();
    long[] unused = new long[ids.length];
    Arrays.fill(unused, -1);
    try (TokenBatch batch = TokenBatch.of(arena, 1, ids, unused, cache.length());
        Tape tape = Tape.inference(arena)) {
      Tensor last = model.nextLogits(tape, batch, cache).value();
      arena.engine().copy(last.reshape(-1), hostLogits);
      arena.engine().synchronize(arena.device());
      FloatBuffer values = hostLogits.byteBuffer(0, (int) hostLogits.byteSize()).asFloatBuffer();
      float[] copy = new float[values.remaining()];
      values.get(copy);
      requireNumbers(copy);
      return copy;
    }
  }

  private static void requireNumbers(float[] logits) {
    for (float logit : logits) {
      if (Float.isNaN(logit) || logit == Float.POSITIVE_INFINITY) {
        throw new NotFiniteException(
            "The model's logits are not finite, so no token can be chosen. Its weights are damaged"
                + " or come from a training that had diverged: take an earlier checkpoint.");
      }
    }
  }
}
